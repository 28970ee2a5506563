// How often a server that dies may be started again.

export const MOST_CRASHES = 5;
export const WINDOW_MS = 3 * 60_000;

/** Counts the crashes of the last minutes: the fifth of them is the last. */
export class Crashes {
  private times: number[] = [];

  /** A server died at `now`, in milliseconds; whether to start another. */
  record(now: number): "restart" | "stop" {
    this.times = this.times.filter((time) => now - time < WINDOW_MS);
    this.times.push(now);
    return this.times.length >= MOST_CRASHES ? "stop" : "restart";
  }

  /** How many there were within the window, as of the last one. */
  get count(): number {
    return this.times.length;
  }

  /** Someone asked for a fresh start. */
  forget(): void {
    this.times = [];
  }
}
