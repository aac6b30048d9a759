/** Slot 0 is never an entry: it stands for both ends of a list, and for no slot. */
export const END = 0;

/**
 * The order in which a cache removes its entries: those that have expired first, then the least recently used. Finds an
 * expired entry without a scan.
 *
 * 1. A slot that expires no earlier than the last of a list is appended to it, so the list is in order of expiry. Entries
 *    with the same time to live all go there.
 * 2. A slot that expires earlier goes into a binary heap.
 * 3. If any slot has expired, the first of the list or the root of the heap has.
 *
 * All methods take constant time for a slot in the list. In a heap of n slots, adding and removing take O(log n). Slots are
 * small whole numbers from 1; expiries are whole milliseconds from 0 to 2³² - 1.
 */
export class EvictionOrder {
  readonly #byUse: SlotList;
  /** The position in the heap is set aside for each slot that is not in this list. */
  readonly #byExpiry: SlotList;
  /** From index 1. `END` at index 0 has expiry 0, so no slot rises above the root. */
  readonly #heap: number[] = [END];
  #expiries = new Uint32Array(1);

  /** @param maxCapacity the most that {@link grow} is ever asked for */
  constructor(maxCapacity: number) {
    this.#byUse = new SlotList(maxCapacity);
    this.#byExpiry = new SlotList(maxCapacity);
  }

  /** When `slot`, which has been added, expires. */
  expiryOf(slot: number): number {
    return this.#expiries[slot] as number;
  }

  /** Adds `slot`, which has not been added, as the most recently used. It expires at `expiry`. */
  add(slot: number, expiry: number): void {
    this.#byUse.append(slot);
    this.#expiries[slot] = expiry;
    if (expiry >= this.expiryOf(this.#byExpiry.last)) this.#byExpiry.append(slot);
    else this.#rise(slot, this.#heap.length);
  }

  /** Makes `slot`, which has been added, the most recently used. */
  use(slot: number): void {
    this.#byUse.moveToEnd(slot);
  }

  /** Removes `slot`, which has been added, whether or not it has expired. */
  remove(slot: number): void {
    this.#byUse.remove(slot);
    const position = this.#byExpiry.valueAside(slot);
    if (position === undefined) this.#byExpiry.remove(slot);
    else this.#removeFromHeap(slot, position);
  }

  /** A slot whose expiry is not later than `now`; `END` if there is none. */
  findExpired(now: number): number {
    const { first } = this.#byExpiry;
    if (first !== END && this.expiryOf(first) <= now) return first;
    if (this.#heap.length === 1) return END;
    const top = this.#heap[1] as number;
    return this.expiryOf(top) <= now ? top : END;
  }

  /** The least recently used slot; `END` if there is none. */
  get leastRecentlyUsed(): number {
    return this.#byUse.first;
  }

  /** Removes every slot. */
  clear(): void {
    this.#byUse.clear();
    this.#byExpiry.clear();
    this.#heap.length = 1;
  }

  /** Makes room for slots below `capacity`. At first there is none. */
  grow(capacity: number): void {
    this.#byUse.grow(capacity);
    this.#byExpiry.grow(capacity);
    this.#expiries = grown(this.#expiries, capacity);
  }

  #removeFromHeap(slot: number, position: number): void {
    const last = this.#heap.pop() as number;
    if (last === slot) return;
    // The gap moves down to a leaf, and the last slot rises from there: fewer comparisons than moving it down itself.
    let gap = position;
    for (let child = 2 * gap; child < this.#heap.length; child = 2 * gap) {
      const sibling = child + 1;
      if (sibling < this.#heap.length && this.#expiryAt(sibling) < this.#expiryAt(child)) child = sibling;
      this.#place(this.#heap[child] as number, gap);
      gap = child;
    }
    this.#rise(last, gap);
  }

  #rise(slot: number, from: number): void {
    const expiry = this.expiryOf(slot);
    let position = from;
    for (let parent = position >>> 1; expiry < this.#expiryAt(parent); parent >>>= 1) {
      this.#place(this.#heap[parent] as number, position);
      position = parent;
    }
    this.#place(slot, position);
  }

  #place(slot: number, position: number): void {
    this.#heap[position] = slot;
    this.#byExpiry.setAside(slot, position);
  }

  #expiryAt(position: number): number {
    return this.expiryOf(this.#heap[position] as number);
  }
}

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
