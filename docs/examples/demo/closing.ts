type Close = () => unknown;

/** What has been started and must be stopped, the last first; whatever fails to stop does not keep the rest from it. */
export class Closing {
  readonly #open: Close[] = [];
  #isClosed = false;

  /**
   * Ctrl-C may come while something is still starting: once all is closed, what is added is stopped at once.
   * @throws Error then, so that nothing more is started
   */
  add(close: Close): void {
    this.#open.push(close);
    if (!this.#isClosed) return;
    void this.close();
    throw new Error("Everything has been closed already");
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    // What is being stopped may not keep this process alive by itself, and then it would not be waited for.
    const awake = setInterval(() => {}, 60_000);
    for (let close = this.#open.pop(); close !== undefined; close = this.#open.pop()) {
      try {
        await close();
      } catch (error) {
        console.error(error);
      }
    }
    clearInterval(awake);
  }
}
