/** Slot 0 is never an entry: it stands for both ends of a list. */
export const END = 0;

/**
 * Slots in the order in which they are appended. Appending and removing take constant time.
 *
 * A circular doubly linked list in one typed array, in which each slot's links to the next and the previous slot lie side
 * by side. Slots are small whole numbers from 1.
 */
export class SlotList {
  #links: Uint16Array | Uint32Array;

  /** @param maxCapacity the most that {@link grow} is ever asked for; up to 65,536 a link takes 16 bits, beyond that 32 */
  constructor(maxCapacity: number) {
    this.#links = new (maxCapacity <= 2 ** 16 ? Uint16Array : Uint32Array)(2);
  }

  /** The slot at the front, or `END` if the list is empty. */
  get first(): number {
    return this.#links[2 * END] as number;
  }

  /** The slot at the back, or `END` if the list is empty. */
  get last(): number {
    return this.#links[2 * END + 1] as number;
  }

  /** Adds `slot`, which is not in the list, at the back. */
  append(slot: number): void {
    const links = this.#links;
    const last = links[2 * END + 1] as number;
    links[2 * last] = slot;
    links[2 * slot] = END;
    links[2 * slot + 1] = last;
    links[2 * END + 1] = slot;
  }

  /** Removes `slot`, which is in the list. */
  remove(slot: number): void {
    const links = this.#links;
    const next = links[2 * slot] as number;
    const previous = links[2 * slot + 1] as number;
    links[2 * previous] = next;
    links[2 * next + 1] = previous;
  }

  /** Moves `slot`, which is in the list, to the back. */
  moveToEnd(slot: number): void {
    // remove and append in one: every hit comes through here.
    const links = this.#links;
    const last = links[2 * END + 1] as number;
    if (last === slot) return;
    const next = links[2 * slot] as number;
    const previous = links[2 * slot + 1] as number;
    links[2 * previous] = next;
    links[2 * next + 1] = previous;
    links[2 * last] = slot;
    links[2 * slot] = END;
    links[2 * slot + 1] = last;
    links[2 * END + 1] = slot;
  }

  /**
   * Stores `value`, a whole number below the capacity, for `slot`, which is not in the list: in the memory of its links,
   * until it is appended again.
   */
  setAside(slot: number, value: number): void {
    // No slot in the list is linked to itself.
    this.#links[2 * slot] = slot;
    this.#links[2 * slot + 1] = value;
  }

  /** The value stored by {@link setAside}, or undefined if `slot` is in the list. */
  valueAside(slot: number): number | undefined {
    return this.#links[2 * slot] === slot ? this.#links[2 * slot + 1] : undefined;
  }

  /** Removes every slot. */
  clear(): void {
    this.#links[2 * END] = END;
    this.#links[2 * END + 1] = END;
  }

  /** Makes room for slots below `capacity`. A new list has none. */
  grow(capacity: number): void {
    this.#links = grown(this.#links, 2 * capacity);
  }
}

/** A copy of `array` with `length` elements, the new ones 0. */
export function grown<A extends Uint16Array | Uint32Array>(array: A, length: number): A {
  const copy = new (array.constructor as new (length: number) => A)(length);
  copy.set(array);
  return copy;
}
