/** A mistake that somebody might make in the store, as a change of its text. */
export interface Mutation {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** What a run needs to show it, besides the seed. */
  readonly flags?: readonly string[];
  /** Where to begin, for one that few schedules show: those of the checker's first findings. @default 100 */
  readonly seed?: number;
  /** It breaks nothing that is claimed; the guide says why. */
  readonly isSafe?: boolean;
}

interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** The server's notice that a subscription has ended may be lost; then heartbeats show it. */
const UNNOTICED: Edit = {
  file: "invalidation/session-subscriptions.ts",
  from: "    connection.onMoved((channel) => this.#lose(channel));\n",
  to: "",
};

/** Redis's count shows what others show, too. */
const UNCOUNTED: Edit = {
  file: "invalidation/primary-listener.ts",
  from: "    void this.sessions?.compareWithCount();\n",
  to: "",
};

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "a miss is read before it is subscribed",
    edits: [
      {
        file: "invalidation/session-subscriptions.ts",
        from: `    const subscribing = channels.length > 0 && this.#options.connection.subscribe(channels, this.#onMessage);
    const answering = this.#settle(channels, subscribing || this.#acknowledged, this.#read(reads), onAnswer);
`,
        to: `    const reading = this.#read(reads);
    const subscribe = () => this.#options.connection.subscribe(channels, this.#onMessage);
    const subscribing = channels.length > 0 && reading.then(subscribe);
    const answering = this.#settle(channels, subscribing || this.#acknowledged, reading, onAnswer);
`,
      },
    ],
  },
  {
    name: "the client's read does not wait for the subscription",
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "&& !(await channels.subscribe(sid))) this.cache.invalidate(sid);\n",
        to: ") void channels.subscribe(sid);\n",
      },
      {
        file: "invalidation/session-subscriptions.ts",
        from: "    if (!this.canRead || ",
        to: "    if (this.#options.maxSessions > 0 || ",
      },
    ],
  },
  {
    name: "a written session is cached though it is not subscribed",
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "const isSubscribed = channels.subscribe(sid);\n",
        to: "const isSubscribed = sid.length > 0 ? true : channels.subscribe(sid);\n",
      },
    ],
  },
  {
    name: "a subscription ends while its session is cached",
    edits: [
      {
        file: "invalidation/session-subscriptions.ts",
        from: " && !this.#options.receiver.cache.isInUse(sid)",
        to: "",
      },
    ],
  },
  {
    name: "a subscription ends while its session is being read or written",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "this.#reads.has(sid) || sid in this.#writes || this.#cache.peek(sid) !== undefined",
        to: "this.#cache.peek(sid) !== undefined",
      },
    ],
  },
  {
    name: "a report of Redis is ignored",
    flags: ["--tracking"],
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: "    else if (key.startsWith(prefix) && cache.invalidate(sid)) this.#changed.set(sid, primary);\n",
        to: "",
      },
    ],
  },
  {
    name: "a flush that Redis reports is ignored",
    flags: ["--tracking"],
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: 'if (key === null) this.flush("Redis was flushed");',
        to: "if (key === null) return;",
      },
    ],
  },
  {
    name: "with tracking, a written session is cached",
    flags: ["--tracking"],
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "const isSubscribed = channels.subscribe(sid);\n",
        to: "const isSubscribed = channels.subscribe(sid) || true;\n",
      },
    ],
  },
  {
    name: "with tracking, what the client reads is cached",
    flags: ["--tracking"],
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "&& !(await channels.subscribe(sid))) this.cache.invalidate(sid);\n",
        to: ") await channels.subscribe(sid);\n",
      },
    ],
  },
  {
    name: "a report of Redis revokes no reply in flight",
    flags: ["--tracking"],
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: "key.startsWith(prefix) && cache.invalidate(sid)",
        to: "key.startsWith(prefix) && (cache as never as { drop(sid: string): boolean }).drop(sid)",
      },
      {
        file: "cache/near-cache.ts",
        from: "  #drop(sid: string): boolean {",
        to: "  drop(sid: string): boolean {\n    return this.#cache.delete(sid);\n  }\n\n  #drop(sid: string): boolean {",
      },
    ],
  },
  {
    name: "a connection does not report what its own commands cause (NOLOOP)",
    flags: ["--tracking"],
    edits: [
      {
        file: "redis/tracking.ts",
        from: "    const { version } =",
        to: `    await connection.sendCommand(["CLIENT", "TRACKING", "OFF"]);
    await connection.sendCommand(["CLIENT", "TRACKING", "ON", "NOLOOP"]);
    const { version } =`,
      },
    ],
  },
  {
    name: "a connection is not asked to report changes, and is not examined",
    flags: ["--tracking"],
    edits: [
      { file: "redis/subscriber.ts", from: "emitInvalidate: isTracked", to: "emitInvalidate: false" },
      {
        file: "redis/tracking.ts",
        from: "  if (isReported) return;\n",
        to: "  if (isReported || key) return;\n",
      },
    ],
  },
  {
    name: "stale sessions are kept after Redis has answered",
    flags: ["--stale"],
    edits: [
      {
        file: "cache/stale-entries.ts",
        from: "if (sentAt >= this.#keptAt) this.clear();",
        to: "if (sentAt < 0) this.clear();",
      },
    ],
  },
  {
    name: "a local destroy does not drop the stale session",
    flags: ["--stale"],
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "    this.#stale?.delete(sid);\n",
        to: "",
      },
    ],
  },
  {
    name: "a stale session is served after the end of its key",
    flags: ["--stale"],
    edits: [
      {
        file: "cache/stale-entries.ts",
        from: "Math.min(verifiedAt + this.#maxAgeMs, value.expiresAt ?? Number.POSITIVE_INFINITY)",
        to: "verifiedAt + this.#maxAgeMs",
      },
    ],
  },
  {
    name: "a stale session is served for longer than staleIfErrorMs",
    flags: ["--stale"],
    edits: [
      {
        file: "cache/stale-entries.ts",
        from: "Math.min(verifiedAt + this.#maxAgeMs, value.expiresAt",
        to: "Math.min(now + 10 * this.#maxAgeMs, value.expiresAt",
      },
      {
        file: "cache/stale-entries.ts",
        from: "new LocalCache({ ...limits, ttlMs: maxAgeMs })",
        to: "new LocalCache({ ...limits, ttlMs: 10 * maxAgeMs })",
      },
    ],
  },
  {
    name: "stale sessions are served while Redis answers",
    flags: ["--stale"],
    edits: [
      {
        file: "sessions/stale-fallback.ts",
        from: "if (this.#outage.isKnown) return this.#serve(sid) ?? read();",
        to: "if (this.entries !== undefined) return this.#serve(sid) ?? read();",
      },
      {
        file: "cache/stale-entries.ts",
        from: "if (sentAt >= this.#keptAt) this.clear();",
        to: "if (sentAt < 0) this.clear();",
      },
    ],
  },
  {
    name: "a write is sent again when its connection breaks",
    edits: [{ file: "redis/sentinel.ts", from: "      if (lost !== undefined) throw lost;\n", to: "" }],
    flags: ["--topology", "sentinel"],
    seed: 61_000,
  },
  {
    name: "a reply is cached without looking at its token",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "const isRevoked = token !== undefined && !this.#fence.isValid(token);",
        to: "const isRevoked = false as boolean;",
      },
    ],
  },
  {
    name: "the token is looked at before an asynchronous parse",
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "    if (parsing !== undefined) await parsing;\n",
        to: "",
      },
      {
        file: "cache/near-cache.ts",
        from: "    for (const each of this.#writes[sid] ?? []) each.isOvertaken = true;\n    const write = this.#newestWrite(sid);\n",
        to: `    const write = this.#newestWrite(sid);
    if (write !== undefined) write.isOvertaken = true;
    if (token !== undefined && this.#fence.isValid(token)) {
      const parsing = (session as { parse?(sid: string): unknown } | undefined)?.parse?.(sid);
      return Promise.resolve(parsing).then(() => {
        if (session !== undefined) this.#fill(sid, session);
        return session;
      }) as never;
    }
`,
      },
    ],
  },
  {
    name: "the cache is kept when the subscription is lost",
    edits: [
      {
        file: "invalidation/coordinator.ts",
        from: "    this.#handlers?.cache.suspend(this.#verifiedAt);\n",
        to: "",
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
        from: "batch.set(key, value, options).publish(channel, message);",
        to: "batch.set(key, value, options);",
      },
      {
        file: "redis/session-commands.ts",
        from: "      this.#groups.send({ deadline, build, bytes: value.length, onReplies, onError });\n",
        to: `      const send = () => this.#groups.send({ deadline, build, bytes: value.length, onReplies, onError });
      this.publish(deadline, announcement).then(send, reject);
`,
      },
    ],
  },
  {
    name: "the members of a group get the replies to its first",
    edits: [{ file: "redis/write-groups.ts", from: "    from += commands;\n", to: "" }],
  },
  {
    name: "the members of a group are sent again when their connection is lost",
    edits: [{ file: "redis/write-groups.ts", from: "DENIED.test(reason)", to: "reason" }],
  },
  {
    name: "the members of a group are written without their messages",
    edits: [
      {
        file: "redis/write-groups.ts",
        from: "    const own = commands.slice(from);\n",
        to: `    const own = commands.slice(from);
    for (const args of own.slice(1)) args.splice(0, 3, "TYPE", args[1]);
`,
      },
    ],
  },
  {
    name: "a member of a group is sent after its deadline",
    isSafe: true,
    edits: [
      { file: "redis/write-groups.ts", from: "write.deadline.onPassed(", to: "new Deadline().onPassed(" },
    ],
  },
  {
    name: "a group of writes is a pipeline instead of a transaction",
    edits: [{ file: "redis/write-groups.ts", from: 'mode: "transaction"', to: 'mode: "pipeline"' }],
  },
  {
    name: "own messages are recognized by the label",
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: "if (announcements.isOwn(message, text)) {",
        to: "if (message.nodeId === (globalThis as { label?: string }).label) {",
      },
      {
        file: "invalidation/coordinator.ts",
        from: "    this.nodeId = options.nodeId;\n",
        to: "    this.nodeId = options.nodeId;\n    Object.assign(globalThis, { label: options.nodeId });\n",
      },
    ],
  },
  {
    name: "own messages are ignored, even those of writes that timed out",
    isSafe: true,
    edits: [
      {
        file: "invalidation/announcements.ts",
        from: "    if (pending === undefined)\n",
        to: "    if (sequence > 0) return true;\n    if (pending === undefined)\n",
      },
    ],
  },
  {
    name: "a cached session outlives its key",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "this.#bytesOf(sid, session), leftMs, now);",
        to: "this.#bytesOf(sid, session), undefined, now);",
      },
    ],
  },
  {
    name: "get returns what is in the cache, not a copy",
    edits: [
      {
        file: "sessions/stored-session.ts",
        from: "return cloneJson(this.#parsed);",
        to: "return this.#parsed;",
      },
    ],
  },
  {
    name: "clears and flushes do not void tokens",
    flags: ["--tracking"],
    edits: [{ file: "cache/near-cache.ts", from: "    this.#fence.revokeAll();\n", to: "" }],
  },
  {
    name: "a read under way is joined, whatever has been received since",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "joined !== undefined && this.#fence.isValid(joined.token)",
        to: "joined",
      },
    ],
  },
  {
    name: "a touch that ends a session earlier is not published",
    seed: 503,
    edits: [
      {
        file: "redis/scripts.ts",
        from: "local isPublished = isEarlier or isNews",
        to: "local isPublished = not isEarlier and isNews",
      },
    ],
  },
  {
    name: "a read under way is joined, though its session's end has come since",
    seed: 2004,
    flags: ["--merge"],
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return hadExpired ? this.read(sid, fetch) : session;",
        to: "return session;",
      },
    ],
  },
  {
    name: "a loaded session is saved whether it still exists or not",
    edits: [{ file: "redis/session-commands.ts", from: 'if (mustExist) options.condition = "XX";', to: "" }],
  },
  {
    name: "under merge, a save overwrites whatever there is",
    flags: ["--merge"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "if current ~= expected then return",
        to: "if not current then return",
      },
    ],
  },
  {
    name: "a reply after the timeout reports a deletion that its message has reported",
    edits: [{ file: "invalidation/announcements.ts", from: "return this.isNews;", to: "return false;" }],
  },
  {
    name: "a destroy is not published",
    edits: [
      {
        file: "sessions/session-operations.ts",
        from: "this.commands.delete(deadline, deletion, announcement);",
        to: "this.commands.delete(deadline, deletion, announcement && undefined);",
      },
    ],
  },
  {
    name: "hits are served without asking whether the cache is trusted",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return this.#gate.isLive(now) ? this.#cache.get(sid, now) : undefined;",
        to: "return this.#cache.get(sid, now);",
      },
    ],
  },
  {
    name: "a failed write is reported as done",
    edits: [
      {
        file: "clustered-redis-store.ts",
        from: "asCallback(callback, () => this.parts.tracker.save(sid, session))",
        to: "asCallback(callback, () => this.parts.tracker.save(sid, session).catch(() => {}))",
      },
    ],
  },
  {
    name: "a callback is called twice",
    edits: [
      {
        file: "clustered-redis-store.ts",
        from: "(result) => process.nextTick(callback, null, result),",
        to: "(result) => [1, 2].forEach(() => process.nextTick(callback, null, result)),",
      },
    ],
  },
  {
    name: "writes of one session start at once, not one after the other",
    flags: ["--pool"],
    edits: [
      {
        file: "sessions/session-queue.ts",
        from: "before === undefined ? work(deadline, this)",
        to: "before === undefined || (true as boolean) ? work(deadline, this)",
      },
    ],
  },
  {
    name: "a save is compared with what was acknowledged, although another is under way",
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "const known = isBehind ? undefined : this.states.stored(sid, session);",
        to: "const known = this.states.stored(sid, session);",
      },
    ],
  },
  {
    name: "a save is compared with what was acknowledged, although a later attempt had an unknown outcome",
    edits: [
      {
        file: "sessions/loaded-state.ts",
        from: "    if (attempts.length > 0) return false;\n",
        to: "    if (attempts.length > 1_000_000) return false;\n",
      },
    ],
  },
  {
    name: "under merge, an own save whose outcome was unknown counts as another writer's",
    flags: ["--merge"],
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "[...state.attempts, state].find(",
        to: "[state].find(",
      },
    ],
  },
  {
    name: "a session saved under another id is treated as loaded",
    edits: [
      {
        file: "sessions/loaded-state.ts",
        from: "return state?.sid === sid ? state : undefined;",
        to: "return state && { ...state, sid };",
      },
    ],
  },
  {
    name: "the arrival of an own message does not mark its write's position",
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: "      cache.onOwnMessage(sid, own);\n",
        to: "",
      },
    ],
  },
  {
    name: "a write is cached although another's message arrived after its own",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "(isPositioned ? this.#fence.isValid(token) : this.#fence.isSameEpoch(token));",
        to: "(isPositioned || true) && this.#fence.isSameEpoch(token);",
      },
    ],
  },
  {
    name: "a write is cached although a read was answered meanwhile",
    flags: ["--pool"],
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "    for (const each of this.#writes[sid] ?? []) each.isOvertaken = true;\n",
        to: "",
      },
    ],
  },
  {
    name: "a reply that is not cached leaves what is cached",
    flags: ["--pool"],
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "    if (isRevoked && session !== undefined) this.#counters.fencedFills++;\n    this.invalidate(sid);\n",
        to: "    if (isRevoked && session !== undefined) this.#counters.fencedFills++;\n",
      },
    ],
  },
  {
    name: "a reply is cached while a write called meanwhile may not have been executed",
    flags: ["--pool", "--merge"],
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "const isBehind = write !== undefined && !write.isPositioned;",
        to: "const isBehind = false as boolean;",
      },
    ],
  },
  {
    name: "a read does not wait for pending writes",
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "const written = this.#operations.cache.whenWritten(sid);",
        to: "const written = undefined as Promise<void> | undefined;",
      },
    ],
  },
  {
    name: "a touch to an earlier expiry keeps the cached copy until its reply, and its own message is ignored",
    edits: [
      {
        file: "invalidation/message-receiver.ts",
        from: "      cache.onOwnMessage(sid, own);\n",
        to: "",
      },
      {
        file: "cache/near-cache.ts",
        from: "if (cached === undefined || cached.expiresAt === undefined || cached.expiresAt > expiresAt)",
        to: "if (cached === undefined)",
      },
    ],
  },
  {
    name: "a touch with another lifetime is not published",
    flags: ["--no-faults"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "local isPublished = isEarlier or isNews",
        to: "local isPublished = isEarlier",
      },
    ],
  },
  {
    name: "expiry by the wall clock",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return this.#gate.isLive(now) ? this.#cache.get(sid, now) : undefined;",
        to: "return this.#gate.isLive(now) ? this.#cache.get(sid, wallNow()) : undefined;",
      },
      {
        file: "cache/near-cache.ts",
        from: "this.#bytesOf(sid, session), leftMs, now);",
        to: "this.#bytesOf(sid, session), leftMs, wallNow());",
      },
      {
        file: "cache/near-cache.ts",
        from: "interface InFlightRead<V> {",
        to: `const WALL_LEAD_MS = Date.now() - performance.now();
/** Not negative, as the cache requires. */
const wallNow = () => Math.max(0, Date.now() - WALL_LEAD_MS + 4_000_000);
interface InFlightRead<V> {`,
      },
    ],
  },
  {
    name: "a heartbeat proves something even if a replica has delivered it",
    edits: [{ file: "redis/scripts.ts", from: "\nif absentKey then\n", to: "\nif false then\n" }],
  },
  {
    name: "a ban deletes sessions that have changed since it examined them",
    flags: ["--index"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "elseif currentSha1 ~= examinedSha1 then",
        to: "elseif false then",
      },
    ],
  },
  {
    name: "a touch extends the index entry of the owner that the request had loaded",
    flags: ["--index"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "if currentSha1 ~= expectedSha1 then return",
        to: "if false then return",
      },
    ],
  },
  {
    name: "a login removes its session from the index of its new owner",
    flags: ["--index"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "for i = isAdded and 4 or 2, #KEYS do",
        to: "for i = 2, #KEYS do",
      },
    ],
  },
  {
    name: "writes of one session start at once, on one connection",
    edits: [
      {
        file: "sessions/session-queue.ts",
        from: "before === undefined ? work(deadline, this)",
        to: "before === undefined || (true as boolean) ? work(deadline, this)",
      },
    ],
  },
  {
    name: "a touch is skipped by what is known although a write is pending",
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "if (!extension.isBehind && this.#isNegligible(extension))",
        to: "if (this.#isNegligible({ ...extension, isBehind: false }))",
      },
    ],
  },
  {
    name: "a touch that has waited for a write is skipped by what its request had loaded before",
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "(isBehind || cache.isUsable ? undefined : this.states.of(sid, session));",
        to: "(cache.isUsable ? undefined : this.states.of(sid, session));",
      },
    ],
  },
  {
    name: "a conflict removes the index entry before the session is written",
    flags: ["--index", "--merge"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "if current ~= expected then return",
        to: "if current ~= expected then for i = 2, #KEYS do redis.call('ZREM', KEYS[i], sid) end return",
      },
    ],
  },
  {
    name: "the index entry is not added with the write",
    flags: ["--index"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "  return 0\nend\nif isAdded then $",
        to: "  return 0\nend\nif false then $",
      },
    ],
  },
  {
    name: "an error of indexBy counts as no owner",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/index-value.ts",
        from: "  const value: unknown = indexBy(session);\n",
        to: `  let value: unknown;
  try {
    value = indexBy(session);
  } catch {}
`,
      },
    ],
  },
  {
    name: "the index entry is removed before indexBy is asked",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "    const indexValue = indexBy && indexValueOf(indexBy, session);\n    // Now",
        to: `    const was = this.states.stored(sid, session);
    const former = indexBy && was && formerIndexValue(indexBy, () => operations.parse(sid, was.base));
    if (former !== undefined) {
      const sha1 = createHash("sha1").update(was?.value ?? "").digest("hex");
      const entry = { sid, since: 0, settledScore: undefined, sha1 };
      operations.queue
        .run("set", sid, async (deadline) => operations.commands.index.removeOutdated(deadline, former, [entry]))
        .catch(() => {});
    }
    const indexValue = indexBy && indexValueOf(indexBy, session);
    // Now`,
      },
      {
        file: "sessions/session-tracker.ts",
        from: "\n/** A session's new expiry,",
        to: '\nimport { createHash } from "node:crypto";\n/** A session\'s new expiry,',
      },
    ],
  },
  {
    name: "a destroy publishes before Redis accepts it",
    flags: ["--index"],
    edits: [
      {
        file: "redis/scripts.ts",
        from: "local deleted = 0\nfor i = 1, count do deleted = deleted + redis.call(",
        to: 'local deleted = 0\nredis.call("PUBLISH", channel, message)\nfor i = 1, count do deleted = deleted + redis.call(',
      },
    ],
  },
  {
    name: "a heartbeat proves something though nobody received it",
    isSafe: true,
    edits: [
      {
        file: "redis/single-primary.ts",
        from: 'return receivers === 0 ? "elsewhere" : "proof";',
        to: 'return "proof";',
      },
    ],
  },
  {
    name: "a reply that is out of step is taken for the reply",
    edits: [
      {
        file: "redis/connections.ts",
        from: "if (batch.isInStep?.(received) !== false) return received;",
        to: "if (batch.isInStep?.(received) !== false || received !== undefined) return received;",
      },
    ],
  },
  {
    name: "a new session may have the owner of the deleted one that it replaces",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "if (deleted?.indexValue !== undefined && deleted.indexValue === indexValue) ",
        to: "if (deleted?.indexValue !== undefined && deleted.indexValue === sid) ",
      },
    ],
  },
  {
    name: "regenerate does not ask whether it has deleted the session itself",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/loaded-state.ts",
        from: "if (await deletion) return undefined;",
        to: "await deletion;",
      },
    ],
  },
  {
    name: "without an index, no event reports that a deleted session was regenerated",
    edits: [
      {
        file: "sessions/session-tracker.ts",
        from: "if (deleted !== undefined && indexBy === undefined) {",
        to: "if (deleted !== undefined && indexBy !== undefined) {",
      },
    ],
  },
  {
    name: "a logout fails if indexBy throws for the session",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/index-value.ts",
        from: "  } catch {\n    // It cannot be read, or has no valid index value.\n  }\n",
        to: "  } catch (error) {\n    throw error;\n  }\n",
      },
    ],
  },
  {
    name: "reindex ends at the first session that cannot be read",
    flags: ["--index"],
    edits: [
      {
        file: "sessions/secondary-index.ts",
        from: 'if (examined === undefined || examined === "unreadable") return "skipped";',
        to: 'if (examined === undefined || examined === "unreadable") throw new Error(sid);',
      },
    ],
  },
  {
    name: "a session that is requested again after UNSUBSCRIBE counts as subscribed",
    edits: [
      {
        file: "invalidation/session-subscriptions.ts",
        from: "      this.#sids.delete(channel);\n",
        to: "",
      },
    ],
  },
  {
    name: "a read may be joined, or cached, although a pending touch has ended the session earlier",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "return this.#touches.get(sid) ?? Number.POSITIVE_INFINITY;",
        to: "return sid === undefined ? 0 : Number.POSITIVE_INFINITY;",
      },
    ],
  },
  {
    name: "what is written while its slot moves is published in its shard alone",
    edits: [
      {
        file: "redis/executor.ts",
        from: "const build: BatchBuilder = (batch, isMoving) => {\n",
        to: "const build: BatchBuilder = (batch) => {\n      const isMoving = keys.length === 0;\n",
      },
    ],
    flags: ["--topology", "cluster"],
  },
  {
    name: "a slot that has moved without a new epoch is ignored",
    edits: [
      UNNOTICED,
      UNCOUNTED,
      {
        file: "redis/cluster.ts",
        from: "|| isUnmoved(view.owners)",
        to: "|| view !== undefined",
      },
    ],
    flags: ["--topology", "cluster"],
  },
  {
    name: "a slot that the client has found at its new primary counts as one that has not moved",
    edits: [
      {
        file: "redis/cluster.ts",
        from: "isSame(owners, this.#used) && isSame(owners, this.#owners)",
        to: "isSame(owners, this.#used)",
      },
      UNNOTICED,
      UNCOUNTED,
    ],
    flags: ["--topology", "cluster"],
  },
  {
    name: "a write that is pending when its session's subscription ends is cached all the same",
    edits: [
      {
        file: "cache/near-cache.ts",
        from: "    for (const write of this.#writes[sid] ?? []) write.token = undefined;\n",
        to: "",
      },
    ],
    flags: ["--topology", "cluster"],
  },
  {
    name: "in a Cluster, a session's index entry is added after the session is written",
    edits: [
      {
        file: "redis/session-commands.ts",
        from: "return this.index.add(deadline, { sid, ttlMs, value: index.to }).then(run);",
        to: `const entry = { sid, ttlMs, value: index.to };
    return run().then(async (result) => {
      await this.index.add(deadline, entry);
      return result;
    });`,
      },
    ],
    flags: ["--topology", "cluster", "--index"],
  },
  {
    name: "subscriptions are not compared with those that Redis counts",
    edits: [UNCOUNTED],
    flags: ["--topology", "cluster"],
  },
  {
    name: "a session's channel is in another slot than its key",
    isSafe: true,
    edits: [{ file: "redis/cluster.ts", from: "tagOf(slotOf(this.prefix + sid))", to: "tagOf(slotOf(sid))" }],
    flags: ["--topology", "cluster"],
  },
];
