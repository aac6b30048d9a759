const GENEROUS_MS = 60_000;

interface Lookout {
  readonly text: string;
  /** For each stream, what could be the beginning of the text: it may come in two chunks. */
  readonly beginnings: Map<object, string>;
  readonly end: (error?: Error) => void;
}

/** Who waits for a text to come by, on any of several streams. */
export class Sightings {
  readonly #where: string;
  readonly #lookouts = new Set<Lookout>();

  constructor(where: string) {
    this.#where = where;
  }

  /** Only what arrives from now on counts, so that a text that has come by before is not taken for the next one. */
  next(text: string): Promise<void> {
    const sighting = new Promise<void>((resolve, reject) => {
      const end = (error?: Error) => {
        clearTimeout(timer);
        this.#lookouts.delete(lookout);
        if (error === undefined) resolve();
        else reject(error);
      };
      const lookout: Lookout = { text, beginnings: new Map(), end };
      const late = () =>
        end(new Error(`Nothing with "${text}" went ${this.#where} in ${GENEROUS_MS / 1000} s`));
      const timer = setTimeout(late, GENEROUS_MS);
      this.#lookouts.add(lookout);
    });
    // A test that has failed meanwhile does not wait for it any more.
    sighting.catch(() => {});
    return sighting;
  }

  arrived(stream: object, chunk: string): void {
    for (const { text, beginnings, end } of this.#lookouts) {
      const known = (beginnings.get(stream) ?? "") + chunk;
      if (known.includes(text)) end();
      else beginnings.set(stream, known.slice(Math.max(0, known.length - text.length + 1)));
    }
  }

  giveUp(): void {
    for (const { text, end } of this.#lookouts)
      end(new Error(`The proxy was closed before it saw "${text}"`));
  }
}
