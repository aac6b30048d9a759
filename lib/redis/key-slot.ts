const SLOTS = 16_384;

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
  for (const byte of Buffer.from(hashedPartOf(key))) {
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >> 8) ^ byte] as number);
  }
  return crc % SLOTS;
}

function hashedPartOf(key: string): string {
  const start = key.indexOf("{");
  const end = start < 0 ? -1 : key.indexOf("}", start + 1);
  return end <= start + 1 ? key : key.slice(start + 1, end);
}
