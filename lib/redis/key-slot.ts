export const SLOTS = 16_384;

/** CRC-16/XMODEM, by bytes. */
const TABLE: Uint16Array = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/**
 * The slot of Redis Cluster that a key belongs to. Of a key with a part in braces only that part counts.
 *
 * Source: "Redis cluster specification", sections "Key distribution model" and "Hash tags".
 */
export function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(hashedPartOf(key))) crc = next(crc, byte);
  return crc % SLOTS;
}

function next(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ (TABLE[(crc >> 8) ^ byte] as number);
}

function hashedPartOf(key: string): string {
  const start = key.indexOf("{");
  const end = start < 0 ? -1 : key.indexOf("}", start + 1);
  return end <= start + 1 ? key : key.slice(start + 1, end);
}

const TAG_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** A text of three characters that belongs to a slot. It shows which slot that is, and nothing else of a key. */
export function tagOf(slot: number): string {
  tags ??= findTags();
  const number = tags[slot] as number;
  const size = TAG_ALPHABET.length;
  const digits = [Math.floor(number / size ** 2), Math.floor(number / size) % size, number % size];
  return digits.map((digit) => TAG_ALPHABET.charAt(digit)).join("");
}

/** By slot: the number of its tag, written with the alphabet as digits. Computed when a Cluster is used, in about ten milliseconds. */
let tags: Uint32Array | undefined;

/** The texts of three characters are 14 times as many as the slots, and each slot has one at least: a test looks at all. */
function findTags(): Uint32Array {
  const found = new Uint32Array(SLOTS);
  const bytes = Buffer.from(TAG_ALPHABET);
  let number = 0;
  for (const first of bytes) {
    for (const second of bytes) {
      const crc = next(next(0, first), second);
      for (const third of bytes) found[next(crc, third) % SLOTS] = number++;
    }
  }
  return found;
}
