import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** Which way bytes flow. */
export type Direction = "toServer" | "toClient";

/** What becomes of the bytes of one direction, on all connections alike, those to come included. */
export interface Rules {
  mode: "pass" | "hold" | "swallow";
  delayMs: number;
  /** Bytes that may still pass before the connection is cut. */
  budget: number;
  /** Holds the bytes of those connections over which this text goes to the server. */
  holdIfSent: string | undefined;
  /** Cuts the connection before this text, the `count`th time that it is to pass. */
  cutBefore: { readonly text: string; count: number } | undefined;
}

export function noFaults(): Rules {
  return {
    mode: "pass",
    delayMs: 0,
    budget: Number.POSITIVE_INFINITY,
    holdIfSent: undefined,
    cutBefore: undefined,
  };
}

/** The end of the stream is held, delayed and swallowed like the bytes before it, or a half-open connection would not be one. */
type Piece = Buffer | "end";

interface Ends {
  readonly from: Socket;
  readonly to: Socket;
  readonly onBytes: (lane: Lane, text: string) => void;
  readonly cut: () => void;
}

/** One direction of one connection. */
export class Lane {
  readonly #rules: Rules;
  readonly #ends: Ends;
  readonly #ownDelayMs: number;
  readonly #held: Piece[] = [];
  #lastDelayed: Promise<void> | undefined;
  #isEndLost = false;
  #isMute = false;
  #isHeld = false;

  /** @param ownDelayMs delays this connection's bytes, besides what the rules say */
  constructor(rules: Rules, ends: Ends, ownDelayMs: number) {
    this.#rules = rules;
    this.#ends = ends;
    this.#ownDelayMs = ownDelayMs;
    ends.from.on("data", (chunk: Buffer) => {
      ends.onBytes(this, chunk.toString("latin1"));
      this.#arrived(chunk);
    });
    ends.from.on("end", () => this.#arrived("end"));
  }

  /** Holds what arrives from now on, until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  /** What is held flows on. */
  release(): void {
    this.#isHeld = false;
    for (const piece of this.#held.splice(0)) this.#forward(piece);
  }

  /** What is held flows on, and an end of the connection that came meanwhile passes; bytes that were swallowed are lost. */
  pass(): void {
    this.release();
    if (this.#isEndLost) this.#forward("end");
    this.#isEndLost = false;
  }

  /** Nothing is forwarded any more, whatever the rules become. */
  mute(): void {
    this.#isMute = true;
  }

  #arrived(piece: Piece): void {
    if (this.#isMute) return;
    if (this.#rules.mode === "hold" || this.#isHeld) this.#held.push(piece);
    else if (this.#rules.mode === "pass") this.#forward(piece);
    else if (piece === "end") this.#isEndLost = true;
  }

  #forward(piece: Piece): void {
    const delayMs = this.#rules.delayMs + this.#ownDelayMs;
    const before = this.#lastDelayed;
    // What comes after a delayed piece has to queue behind it, even when there is no more delay.
    if (delayMs === 0 && before === undefined) {
      this.#write(piece);
      return;
    }
    const mine = Promise.all([before, pause(delayMs)]).then(() => {
      this.#write(piece);
      if (this.#lastDelayed === mine) this.#lastDelayed = undefined;
    });
    this.#lastDelayed = mine;
  }

  #write(piece: Piece): void {
    const { to, cut } = this.#ends;
    if (!to.writable) return;
    if (piece === "end") {
      to.end();
      return;
    }
    const allowed = piece.subarray(0, Math.min(this.#rules.budget, this.#placeOfCut(piece)));
    this.#rules.budget -= allowed.length;
    if (allowed.length === piece.length && this.#rules.budget > 0) {
      to.write(allowed);
      return;
    }
    // Once: the next connection is to live.
    this.#rules.budget = Number.POSITIVE_INFINITY;
    this.#rules.cutBefore = undefined;
    to.end(allowed, cut);
  }

  /** How many of these bytes may pass. */
  #placeOfCut(bytes: Buffer): number {
    const { cutBefore } = this.#rules;
    if (cutBefore === undefined) return bytes.length;
    let at = bytes.indexOf(cutBefore.text);
    while (at >= 0 && --cutBefore.count > 0) at = bytes.indexOf(cutBefore.text, at + 1);
    return at < 0 ? bytes.length : at;
  }
}
