// One piece of work at a time, and never more than one waiting.

/**
 * Runs a task again for each request. A request during a run waits for it and then runs once, for
 * all who asked meanwhile: it sees the latest settings anyway.
 */
export class Latest {
  private current: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(private readonly task: () => Promise<void>) {}

  /** Resolves when a run that began after this call has ended; rejects as that run does. */
  request(): Promise<void> {
    if (this.current === undefined) {
      return this.begin();
    }
    this.next ??= this.current
      .catch(() => undefined)
      .then(() => {
        this.next = undefined;
        return this.begin();
      });
    return this.next;
  }

  private begin(): Promise<void> {
    const run = this.task().finally(() => {
      if (this.current === run) {
        this.current = undefined;
      }
    });
    this.current = run;
    return run;
  }
}
