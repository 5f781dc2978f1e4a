/** Where everything on the paper lies, in millimetres. Pure: the same geometry draws on a screen and on paper. */

export type LayoutName = '3x4' | '6x2' | '12x1';
export const SPEEDS = [25, 50] as const;
export const GAINS = [5, 10, 20] as const;

export interface Paper {
  layout: LayoutName;
  /** mm per second. */
  speed: number;
  /** mm per millivolt. */
  gain: number;
}

/** A stretch of one lead on the paper. */
export interface Trace {
  lead: string;
  /** mm: where the stretch begins and its zero line. */
  x: number;
  y: number;
  /** s: the stretch of the record. */
  from: number;
  to: number;
}

export interface EcgLayout {
  width: number;
  height: number;
  traces: Trace[];
  /** Calibration pulse of each row: begin and zero line. It is 1 mV high and 200 ms long. */
  pulses: { x: number; y: number }[];
  /** mm: where the columns of leads meet. */
  columns: number[];
  /** mm from the paper's left edge to the first sample. */
  left: number;
  /** mm from one zero line to the next. */
  rowHeight: number;
}

/** s: the calibration pulse (200 ms). */
export const PULSE_S = 0.2;
/** mm: room for the pulse and its feet before the traces. */
const PULSE_ROOM = 4;
const MARGIN = 5;
/** mV kept free above and below a zero line at the standard gain; a row is never lower than its smallest height. */
const ROW_MM: Record<LayoutName, number> = { '3x4': 30, '6x2': 24, '12x1': 20 };

const LEADS: Record<LayoutName, readonly (readonly string[])[]> = {
  '3x4': [['I', 'aVR', 'V1', 'V4'], ['II', 'aVL', 'V2', 'V5'], ['III', 'aVF', 'V3', 'V6']],
  '6x2': [['I', 'V1'], ['II', 'V2'], ['III', 'V3'], ['aVR', 'V4'], ['aVL', 'V5'], ['aVF', 'V6']],
  '12x1': [['I'], ['II'], ['III'], ['aVR'], ['aVL'], ['aVF'], ['V1'], ['V2'], ['V3'], ['V4'], ['V5'], ['V6']],
};
const RHYTHM = 'II';
export const STANDARD_LEADS: readonly string[] = LEADS['12x1'].map(([lead]) => lead!);

/**
 * Lays a record out. In 3×4 and 6×2 the columns are consecutive stretches of the record, simultaneous within a column,
 * without gap or overlap where they meet; 3×4 has a rhythm strip of lead II below. Leads beyond the twelve follow as
 * rows of their own in 12×1.
 */
export function layoutOf(paper: Paper, durationS: number, available: readonly string[]): EcgLayout {
  const more = paper.layout === '12x1' ? available.filter((lead) => !STANDARD_LEADS.includes(lead)) : [];
  const rows = [...LEADS[paper.layout], ...more.map((lead) => [lead])];
  const rowHeight = ROW_MM[paper.layout] * Math.max(1, paper.gain / 10);
  const left = MARGIN + PULSE_S * paper.speed + PULSE_ROOM;
  const columnCount = rows[0]!.length;
  const columnS = durationS / columnCount;
  const traces: Trace[] = [];
  const pulses: { x: number; y: number }[] = [];
  const zeroOf = (row: number) => MARGIN + rowHeight * (row + 0.5);
  for (const [row, leads] of rows.entries()) {
    pulses.push({ x: MARGIN, y: zeroOf(row) });
    for (const [column, lead] of leads.entries()) {
      const from = column * columnS;
      traces.push({ lead, x: left + from * paper.speed, y: zeroOf(row), from, to: from + columnS });
    }
  }
  if (paper.layout === '3x4') {
    pulses.push({ x: MARGIN, y: zeroOf(rows.length) });
    traces.push({ lead: RHYTHM, x: left, y: zeroOf(rows.length), from: 0, to: durationS });
  }
  return {
    width: left + durationS * paper.speed + MARGIN,
    height: pulses.length * rowHeight + 2 * MARGIN,
    traces,
    pulses,
    columns: Array.from({ length: columnCount - 1 }, (_, i) => left + (i + 1) * columnS * paper.speed),
    left,
    rowHeight,
  };
}

/** mm below the paper's top edge of a voltage on a trace. */
export const yOf = (trace: Trace, millivolts: number, gain: number): number => trace.y - millivolts * gain;
/** mm right of the paper's left edge of a time on a trace. */
export const xOf = (trace: Trace, seconds: number, speed: number): number => trace.x + (seconds - trace.from) * speed;

/** What two points of calipers say. */
export interface Reading {
  ms: number;
  /** Absent for no time at all. */
  bpm: number | undefined;
  mV: number;
}

export function readingOf(a: { x: number; y: number }, b: { x: number; y: number }, paper: Paper): Reading {
  const ms = (Math.abs(b.x - a.x) / paper.speed) * 1000;
  return { ms, bpm: ms > 0 ? 60_000 / ms : undefined, mV: (a.y - b.y) / paper.gain };
}
