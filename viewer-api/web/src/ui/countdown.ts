/** How a limit stands: the colour follows the level, the word and sign follow `overdue`. */
export interface Remaining {
  /** Milliseconds left; below zero when over. */
  ms: number;
  level: 'calm' | 'soon' | 'over';
  /** `07:35`, or `1:07:35` from an hour on, of the absolute value. */
  clock: string;
}

/** Below this a row is marked. */
export const SOON_MS = 5 * 60_000;

export function remaining(dueAtMs: number, nowMs: number): Remaining {
  const ms = dueAtMs - nowMs;
  const level = ms < 0 ? 'over' : ms < SOON_MS ? 'soon' : 'calm';
  return { ms, level, clock: clockText(Math.abs(ms)) };
}

const two = (n: number): string => String(n).padStart(2, '0');

/** A duration as a clock; a running second counts as not yet over. */
export function clockText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}
