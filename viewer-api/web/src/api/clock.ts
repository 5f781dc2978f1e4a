/**
 * The county's time, independent of the PC's clock: an answer says `now_ms`, the monotonic clock carries it on.
 * A PC whose clock is an hour off, or jumps, shows the right countdown.
 */
export class ServerClock {
  private base = Number.NaN;
  private at = 0;

  constructor(private readonly monotonic: () => number = () => performance.now()) {}

  /** Takes the server's time from an answer. The newest answer wins: the monotonic clock may stop while a PC sleeps. */
  sync(nowMs: number): void {
    this.base = nowMs;
    this.at = this.monotonic();
  }

  /** Server time, UTC ms; the PC's own before the first answer. */
  now(): number {
    return Number.isNaN(this.base) ? Date.now() : this.base + (this.monotonic() - this.at);
  }
}

export const serverClock = new ServerClock();
