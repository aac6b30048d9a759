/** A mistake that somebody might make in the store, as a change of its text. */
export interface Mutation {
  readonly name: string;
  readonly edits: readonly { readonly file: string; readonly from: string; readonly to: string }[];
  /** Only merging nodes can show it. */
  readonly merge?: boolean;
  /** Where to begin, for one that few schedules show: those of the checker's first findings. @default 100 */
  readonly seed?: number;
}

const IS_OWN = "message.instanceId === this.instanceId && this.#ownWrites.heard(message.sequence)";

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "a reply is cached without looking at its token",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "if (!this.#fence.isValid(token)) {",
        to: "if (false as boolean) {",
      },
    ],
  },
  {
    name: "the token is looked at before an asynchronous parse",
    edits: [
      { file: "sessions/session-operations.ts", from: "        await session?.parse();\n", to: "" },
      {
        file: "cache/near-cache.ts",
        from: "    if (session !== undefined) this.#fill(sid, token, session);",
        to: `    const isValid = this.#fence.isValid(token);
    await session?.parse();
    if (session !== undefined && isValid) this.#fill(sid, this.#fence.take(sid), session);`,
      },
    ],
  },
  {
    name: "the cache is kept when the subscription is lost",
    edits: [
      {
        file: "invalidation/coordinator.ts",
        from: "    this.#options.handlers.distrust(reason);\n    this.#options.handlers.suspect(reason);\n",
        to: "    this.#options.handlers.suspect(reason);\n",
      },
    ],
  },
  {
    name: "the lease never lapses",
    edits: [
      {
        file: "invalidation/coordinator.ts",
        from: " && now - this.#provenAt < this.#options.leaseMs",
        to: "",
      },
    ],
  },
  {
    name: "a write and its message are two commands, the message first",
    edits: [
      {
        file: "redis/session-commands.ts",
        from: "    const { replies } = await this.#executor.send(deadline, command, announcement);",
        to: `    if (announcement !== undefined) await this.publish(deadline, announcement);
    const { replies } = await this.#executor.send(deadline, command);`,
      },
    ],
  },
  {
    name: "own messages are told by the label",
    edits: [{ file: "invalidation/coordinator.ts", from: IS_OWN, to: "message.nodeId === this.nodeId" }],
  },
  {
    name: "own messages are passed over, even those of writes that timed out",
    edits: [
      { file: "invalidation/coordinator.ts", from: IS_OWN, to: "message.instanceId === this.instanceId" },
    ],
  },
  {
    name: "a cached session outlives its key",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "this.#cache.set(sid, session, session.bytes, leftMs, now)",
        to: "this.#cache.set(sid, session, session.bytes, undefined, now)",
      },
    ],
  },
  {
    name: "get returns what is in the cache, not a copy",
    edits: [
      {
        file: "sessions/stored-session.ts",
        from: "return cloneJson(this.#parsed?.session ?? null);",
        to: "return this.#parsed?.session ?? null;",
      },
    ],
  },
  {
    name: "clears and flushes do not void tokens",
    edits: [{ file: "cache/near-cache.ts", from: "    this.#fence.voidAll();\n", to: "" }],
  },
  {
    name: "a read under way is joined, whatever has been heard since",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "joined !== undefined && this.#fence.isValid(joined.token)",
        to: "joined",
      },
    ],
  },
  {
    name: "a touch that ends a session earlier is not announced",
    seed: 503,
    edits: [
      {
        file: "redis/scripts.ts",
        from: `if isEarlier then \${PUBLISH} end\n`,
        to: "",
      },
    ],
  },
  {
    name: "a read under way is joined, though its session's end has come since",
    seed: 2004,
    merge: true,
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return hadEnded ? this.read(sid, fetch) : session;",
        to: "return session;",
      },
    ],
  },
  {
    name: "a loaded session is saved whether it still exists or not",
    edits: [{ file: "redis/session-commands.ts", from: '...(mustExist && { condition: "XX" }),', to: "" }],
  },
  {
    name: "under merge, a save overwrites whatever there is",
    merge: true,
    edits: [
      {
        file: "redis/scripts.ts",
        from: "if current ~= expected then return {0, current} end",
        to: "if not current then return {0, current} end",
      },
    ],
  },
  {
    name: "a destroy is not announced",
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "this.#commands.delete(deadline, { sids: group, indexValue }, announcement),",
        to: "this.#commands.delete(deadline, { sids: group, indexValue }, announcement && undefined),",
      },
    ],
  },
  {
    name: "hits are served without asking whether the cache is trusted",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return this.#isTrusted(now) ? this.#cache.get(sid, now) : undefined;",
        to: "return this.#cache.get(sid, now);",
      },
    ],
  },
  {
    name: "a failed write is reported as done",
    edits: [
      {
        file: "clustered-redis-store.ts",
        from: "deliver(this.#inHand.save(sid, session), callback)",
        to: "deliver(this.#inHand.save(sid, session).catch(() => {}), callback)",
      },
    ],
  },
  {
    name: "a callback is called twice",
    edits: [
      {
        file: "callback.ts",
        from: "(result) => process.nextTick(callback, null, result),",
        to: "(result) => [1, 2].forEach(() => process.nextTick(callback, null, result)),",
      },
    ],
  },
];
