// What a private copy of a session costs, and the text of one: node copies.ts <bytes>
import { deserialize, serialize } from "node:v8";
import { FillFence } from "../../../dist/esm/cache/fill-fence.js";
import { decodeMessage, encodeMessage } from "../../../dist/esm/invalidation/messages.js";
import { cloneJson } from "../../../dist/esm/sessions/clone-json.js";
import { report } from "../support/child.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { nsPerCall } from "./timing.ts";

const bytes = Number(process.argv[2]);
const what = process.argv[3] as keyof typeof WORK;
const session = sessionOf(bytes, 60_000);
const text = JSON.stringify(session);
const buffer = serialize(session);
const fence = new FillFence();
const sids = Array.from({ length: 1000 }, (_, i) => sidOf(i));
const message = encodeMessage({
  type: "SessionDeleted",
  reason: "destroy",
  instanceId: "6f0c2a34-8f5e-4b0f-9d06-0f2d3f5a7c11",
  sequence: 4711,
  nodeId: "worker-3",
  prefix: "sess:",
  sentAt: Date.now(),
  sids: [sidOf(1)],
});
const decoded = decodeMessage(message);
let turn = 0;

/** By the name under which it is reported. */
const WORK = {
  "cloneJson (ours)": () => cloneJson(session),
  "JSON.parse": () => JSON.parse(text) as unknown,
  "v8.deserialize": () => deserialize(buffer) as unknown,
  structuredClone: () => structuredClone(session),
  "JSON.stringify": () => JSON.stringify(session),
  "message: encode": () => decoded && encodeMessage(decoded),
  "message: decode": () => decodeMessage(message),
  "fence: token": () => fence.take(sids[turn++ % 1000] as string),
};

report(nsPerCall(WORK[what]));
