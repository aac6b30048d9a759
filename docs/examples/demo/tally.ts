import type { Happening } from "./play.ts";

/** What a script comes to. */
export class Tally {
  #reads = 0;
  #readsFromMemory = 0;
  #steps = 0;
  #failures = 0;

  /** How often a node was asked who the visitor is. */
  get reads(): number {
    return this.#reads;
  }

  /** Of these, those for which not one command was sent to Redis. */
  get readsFromMemory(): number {
    return this.#readsFromMemory;
  }

  get steps(): number {
    return this.#steps;
  }

  get failures(): number {
    return this.#failures;
  }

  add(happening: Happening): void {
    if (happening.type === "received" && !happening.inTime) this.#failures++;
    if (happening.type !== "answer") return;
    this.#steps++;
    if (!happening.isAsExpected) this.#failures++;
    if (happening.step.path !== "/me") return;
    this.#reads++;
    if (happening.answer.commands === 0) this.#readsFromMemory++;
  }
}
