import { randomBytes } from "node:crypto";
import { constants, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Codec, type CodecContext, CodecError, composed, compressed, encrypted } from "../lib/codecs.ts";

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const OTHER_KEY = randomBytes(32);
const SECRET = "0123456789abcdef0123456789abcdef";
const of = (sid: string, prefix = "sess:"): CodecContext => ({ sid, key: prefix + sid });

/** The code of what a codec throws. */
function codeOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    if (error instanceof CodecError) return error.code;
    throw error;
  }
  return "decoded";
}

// Made by two other implementations: WebCrypto, and Python's cryptography. A value in Redis outlives the version that wrote it,
// so these lines never change: a new format gets new ones.
const VECTORS = [
  {
    keys: [{ id: "2026-11", key: KEY }],
    context: of("abc"),
    text: '{"cookie":{"originalMaxAge":null},"name":"Zoë 😀"}',
    value:
      "enc:v1:2026-11:8PHy8_T19vf4-fr7EiQgbxNRuxG9zYy44TgL0XmPOK51ZjfZMTMRmjdGvmthPDTqIe7Uu6J6lBzUktN_VMSHVgvgCgpomsqKLMG5mjrZ8ljY",
  },
  {
    keys: [{ id: "s", secret: SECRET }],
    context: of("ä", ""),
    text: "{}",
    value: "enc:v1:s:8PHy8_T19vf4-fr7bytM1kCaQqFHtv6ZUafdW-hn",
  },
];

describe("encrypted", () => {
  test.each(VECTORS)("reads the known value $value", ({ keys, context, text, value }) => {
    expect(encrypted({ keys }).decode(value, context)).toBe(text);
  });

  test("writes that format, with an IV of its own each time", () => {
    const codec = encrypted({ keys: [{ id: "k", key: KEY }] });
    const values = Array.from({ length: 100 }, () => codec.encode("{}", of("abc")));
    for (const value of values) {
      // 12 bytes IV, 2 bytes ciphertext, 16 bytes tag.
      expect(value).toMatch(/^enc:v1:k:[\w-]{40}$/);
      expect(codec.decode(value, of("abc"))).toBe("{}");
    }
    const ivs = values.map((value) => value.slice("enc:v1:k:".length).slice(0, 16));
    expect(new Set(ivs).size).toBe(100);
  });

  test("returns any text that it was given", () => {
    const codec = encrypted({ keys: [{ id: "k", key: KEY }] });
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ minLength: 1 }), (text, sid) => {
        expect(codec.decode(codec.encode(text, of(sid)), of(sid))).toBe(text);
      }),
    );
  });

  test("the first key encrypts, all decrypt", () => {
    const old = encrypted({ keys: [{ id: "old", key: KEY }] });
    const rotated = encrypted({
      keys: [
        { id: "new", secret: SECRET },
        { id: "old", key: KEY },
      ],
    });
    expect(rotated.decode(old.encode("{}", of("a")), of("a"))).toBe("{}");
    const value = rotated.encode("{}", of("a"));
    expect(value).toMatch(/^enc:v1:new:/);
    expect(codeOf(() => old.decode(value, of("a")))).toBe("ERR_CODEC_UNKNOWN_KEY");
  });

  test("a value is useless under another session id, another prefix, or another split of the two", () => {
    const codec = encrypted({ keys: [{ id: "k", key: KEY }] });
    const value = codec.encode("{}", of("abc", "sess:"));
    for (const other of [of("abd"), of("abc", "other:"), of("bc", "sess:a"), of(":abc", "sess")]) {
      expect(codeOf(() => codec.decode(value, other))).toBe("ERR_CODEC_NOT_AUTHENTIC");
    }
  });

  test("a value of which any character was changed is not decoded", () => {
    const codec = encrypted({
      keys: [
        { id: "k", key: KEY },
        { id: "g", key: KEY },
      ],
    });
    const value = codec.encode('{"a":1}', of("abc"));
    // Of the last character of base64url not all bits count: those of "g" and "k" differ in bits that do.
    for (let i = 0; i < value.length; i++) {
      const changed = `${value.slice(0, i)}${value[i] === "g" ? "k" : "g"}${value.slice(i + 1)}`;
      expect(codeOf(() => codec.decode(changed, of("abc")))).toMatch(/^ERR_CODEC_/);
    }
    // Its characters in another order, or fewer of them.
    for (const damaged of [value.slice(0, -1), `${value}A`, value.slice(0, 40), "enc:v1:k:", "enc:"]) {
      expect(codeOf(() => codec.decode(damaged, of("abc")))).toMatch(/^ERR_CODEC_/);
    }
  });

  test("another key with the same id, and a version of the future", () => {
    const value = encrypted({ keys: [{ id: "k", key: KEY }] }).encode("{}", of("a"));
    const other = encrypted({ keys: [{ id: "k", key: OTHER_KEY }], acceptPlain: true });
    expect(codeOf(() => other.decode(value, of("a")))).toBe("ERR_CODEC_NOT_AUTHENTIC");
    const future = value.replace("enc:v1:", "enc:v2:");
    expect(codeOf(() => other.decode(future, of("a")))).toBe("ERR_CODEC_FORMAT");
  });

  test("plaintext is refused, unless it is accepted", () => {
    const keys = [{ id: "k", key: KEY }];
    expect(codeOf(() => encrypted({ keys }).decode('{"admin":true}', of("a")))).toBe("ERR_CODEC_PLAIN");
    expect(encrypted({ keys, acceptPlain: true }).decode("{}", of("a"))).toBe("{}");
  });

  const KEY_ERROR = "keys[0].key: expected a Uint8Array of 32 bytes, got";
  const SECRET_ERROR = "keys[0].secret: expected a string of at least 32 characters, got";
  const wrong: [given: unknown, message: string][] = [
    [{}, "keys: expected an array of at least one { id, key } or { id, secret }, got undefined"],
    [{ keys: [] }, "keys: expected an array of at least one { id, key } or { id, secret }, got an array"],
    [
      { keys: [undefined] },
      'keys[0].id: expected a string of 1 to 32 letters, digits, "-" and "_", got undefined',
    ],
    [
      { keys: [{ id: "a:b", key: KEY }] },
      'keys[0].id: expected a string of 1 to 32 letters, digits, "-" and "_", got "a:b"',
    ],
    [{ keys: [{ id: "k" }] }, `${SECRET_ERROR} undefined`],
    [{ keys: [{ id: "k", secret: "keyboard cat" }] }, `${SECRET_ERROR} 12 characters`],
    [{ keys: [{ id: "k", secret: 5 }] }, `${SECRET_ERROR} 5`],
    [{ keys: [{ id: "k", key: KEY.slice(1) }] }, `${KEY_ERROR} 31 bytes`],
    [{ keys: [{ id: "k", key: SECRET }] }, `${KEY_ERROR} a string`],
    [{ keys: [{ id: "k", key: KEY, secret: SECRET }] }, "keys[0]: expected a key or a secret, got both"],
    [
      {
        keys: [
          { id: "k", key: KEY },
          { id: "k", key: OTHER_KEY },
        ],
      },
      'keys[1].id: expected one that no other key has, got "k"',
    ],
    [{ keys: [{ id: "k", key: KEY }], acceptPlain: "yes" }, 'acceptPlain: expected a boolean, got "yes"'],
  ];
  test.each(wrong)("%j is a TypeError", (given, message) => {
    expect(() => encrypted(given as Parameters<typeof encrypted>[0])).toThrow(new TypeError(message));
  });
});

describe("compressed", () => {
  const long = JSON.stringify({ cookie: { originalMaxAge: null }, list: Array(20).fill("Zoë") });

  test.each([
    [
      "zlib at level 1",
      "zip:v1:q1ZKzs/PzkxVsqpWyi/KTM/MS8zxTaxwTE9Vssorzcmp1VHKySwuUbKKVorKP7xaSWcwULG1AA==",
    ],
    ["Python at level 9", "zip:v1:q1ZKzs/PzkxVsqpWyi/KTM/MS8zxTaxwTAeK5JXm5NTqKOVkFpcoWUUrReUfXq2kMxio2FoA"],
  ])("reads the known value of %s", (_, value) => {
    expect(compressed().decode(value, of("a"))).toBe(long);
  });

  test("a short text, and one that would not become shorter, are stored as they are", () => {
    expect(compressed().encode(long, of("a"))).toBe(long);
    expect(compressed({ fromBytes: 100 }).encode(long, of("a"))).toMatch(/^zip:v1:/);
    const random = randomBytes(2_000).toString("base64");
    expect(compressed().encode(random, of("a"))).toBe(random);
  });

  test("returns any text that it was given, even one that looks compressed", () => {
    const codec = compressed({ fromBytes: 0 });
    const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("zip:", "zip:v1:AAAA", long));
    fc.assert(
      fc.property(text, (given) => {
        expect(codec.decode(codec.encode(given, of("a")), of("a"))).toBe(given);
      }),
    );
  });

  test("what is damaged, of another version, or would fill the memory, is refused", () => {
    const codec = compressed({ fromBytes: 0 });
    const bomb = `zip:v1:${deflateRawSync(" ".repeat(64 * 1024 * 1024 + 1)).toString("base64")}`;
    for (const value of ["zip:v1:", "zip:v1:AAAA", "zip:v2:AAAA", bomb]) {
      expect(codeOf(() => codec.decode(value, of("a")))).toBe("ERR_CODEC_FORMAT");
    }
  });

  test("a text that would be refused then is not encoded", () => {
    const expected = new RangeError("The text is longer than 64 MiB");
    expect(() => compressed().encode(" ".repeat(64 * 1024 * 1024 + 1), of("a"))).toThrow(expected);
    const longest = " ".repeat(64 * 1024 * 1024);
    expect(compressed().decode(compressed().encode(longest, of("a")), of("a")) === longest).toBe(true);
  });

  test("a value of four megabytes that inflates to four gigabytes is refused, without taking them", () => {
    // A block that is not the last one can be repeated.
    const block = deflateRawSync(Buffer.alloc(2 ** 20), { finishFlush: constants.Z_FULL_FLUSH });
    const bomb = Buffer.concat([...Array(4_096).fill(block), deflateRawSync("")]);
    const value = `zip:v1:${bomb.toString("base64")}`;
    expect(value.length).toBeLessThan(8 * 2 ** 20);
    const before = process.resourceUsage().maxRSS;
    expect(codeOf(() => compressed().decode(value, of("a")))).toBe("ERR_CODEC_FORMAT");
    const codec = composed(compressed(), compressed());
    expect(codeOf(() => codec.decode(compressed().encode(value, of("a")), of("a")))).toBe("ERR_CODEC_FORMAT");
    // In kilobytes.
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(1024 * 1024);
  });

  test("wrong options are TypeErrors", () => {
    const expected = "fromBytes: expected 0 or a positive whole number of bytes, got -1";
    expect(() => compressed({ fromBytes: -1 })).toThrow(new TypeError(expected));
  });
});

describe("composed", () => {
  test("encodes in order, and decodes in the opposite one", () => {
    const mark = (name: string): Codec => ({
      encode: (text) => `${name}(${text})`,
      decode: (value) => value.slice(name.length + 1, -1),
    });
    const codec = composed(mark("a"), mark("b"), mark("c"));
    expect(codec.encode("x", of("s"))).toBe("c(b(a(x)))");
    expect(codec.decode("c(b(a(x)))", of("s"))).toBe("x");
  });

  test("a compressed and encrypted value is shorter than an encrypted one, and bound to its session", () => {
    const encryption = encrypted({ keys: [{ id: "k", key: KEY }] });
    const codec = composed(compressed(), encryption);
    const text = JSON.stringify({ list: Array(200).fill("product") });
    const value = codec.encode(text, of("a"));
    expect(value.length).toBeLessThan(encryption.encode(text, of("a")).length / 4);
    expect(codec.decode(value, of("a"))).toBe(text);
    expect(codeOf(() => codec.decode(value, of("b")))).toBe("ERR_CODEC_NOT_AUTHENTIC");
  });

  test("anything but a codec is a TypeError", () => {
    const expected = "codecs[1]: expected an object with the functions encode and decode, got undefined";
    expect(() => composed(compressed(), undefined as unknown as Codec)).toThrow(new TypeError(expected));
  });
});
