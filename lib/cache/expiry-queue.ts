import { END, grown, SlotList } from "./slot-list.ts";

/**
 * Finds an expired slot without a scan.
 *
 * 1. A slot that expires no earlier than the last of a list is appended to it, so the list is in order of expiry. Entries
 *    with the same time to live all go there.
 * 2. A slot that expires earlier goes into a binary heap.
 * 3. If any slot has expired, the first of the list or the root of the heap has.
 *
 * Scheduling, cancelling and finding take constant time in the list. In a heap of n slots, scheduling and cancelling take
 * O(log n). Slots are small whole numbers from 1; deadlines are whole milliseconds from 0 to 2³² - 1.
 */
export class ExpiryQueue {
  /** The position in the heap is set aside for each slot that is not in this list. */
  readonly #list: SlotList;
  /** From index 1. `END` at index 0 has deadline 0, so no slot rises above the root. */
  readonly #heap: number[] = [END];
  #deadlines = new Uint32Array(1);

  /** @param maxCapacity the most that {@link grow} is ever asked for */
  constructor(maxCapacity: number) {
    this.#list = new SlotList(maxCapacity);
  }

  /** When `slot`, which is scheduled, expires. */
  deadlineOf(slot: number): number {
    return this.#deadlines[slot] as number;
  }

  /** Schedules `slot`, which is not scheduled, to expire at `deadline`. */
  schedule(slot: number, deadline: number): void {
    this.#deadlines[slot] = deadline;
    if (deadline >= this.deadlineOf(this.#list.last)) this.#list.append(slot);
    else this.#rise(slot, this.#heap.length);
  }

  /** Removes `slot`, which is scheduled, whether or not it has expired. */
  cancel(slot: number): void {
    const position = this.#list.valueAside(slot);
    if (position === undefined) this.#list.remove(slot);
    else this.#removeFromHeap(slot, position);
  }

  /** A slot whose deadline is not later than `now`, which stays scheduled; `END` if there is none. */
  findExpired(now: number): number {
    const first = this.#list.first;
    if (first !== END && this.deadlineOf(first) <= now) return first;
    if (this.#heap.length === 1) return END;
    const top = this.#heap[1] as number;
    return this.deadlineOf(top) <= now ? top : END;
  }

  /** Removes every slot. */
  clear(): void {
    this.#list.clear();
    this.#heap.length = 1;
  }

  /** Makes room for slots below `capacity`. A new queue has none. */
  grow(capacity: number): void {
    this.#list.grow(capacity);
    this.#deadlines = grown(this.#deadlines, capacity);
  }

  #removeFromHeap(slot: number, position: number): void {
    const last = this.#heap.pop() as number;
    if (last === slot) return;
    // The gap moves down to a leaf, and the last slot rises from there: fewer comparisons than moving it down itself.
    let gap = position;
    for (let child = 2 * gap; child < this.#heap.length; child = 2 * gap) {
      const sibling = child + 1;
      if (sibling < this.#heap.length && this.#deadlineAt(sibling) < this.#deadlineAt(child)) child = sibling;
      this.#place(this.#heap[child] as number, gap);
      gap = child;
    }
    this.#rise(last, gap);
  }

  #rise(slot: number, from: number): void {
    const deadline = this.deadlineOf(slot);
    let position = from;
    for (let parent = position >>> 1; deadline < this.#deadlineAt(parent); parent >>>= 1) {
      this.#place(this.#heap[parent] as number, position);
      position = parent;
    }
    this.#place(slot, position);
  }

  #place(slot: number, position: number): void {
    this.#heap[position] = slot;
    this.#list.setAside(slot, position);
  }

  #deadlineAt(position: number): number {
    return this.deadlineOf(this.#heap[position] as number);
  }
}
