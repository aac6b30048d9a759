import { expect, onTestFinished, test } from "vitest";
import { newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** As zone.js and Bluebird do: the promises of async functions are no instances of the global `Promise` any more. */
function replacePromise(): void {
  const { Promise: native } = globalThis;
  onTestFinished(() => {
    globalThis.Promise = native;
  });
  globalThis.Promise = class OwnPromise<T> extends native<T> {};
  expect((async () => {})()).not.toBeInstanceOf(Promise);
}

const serializers = {
  JSON,
  "an asynchronous serializer": {
    parse: async (text: string) => JSON.parse(text),
    stringify: JSON.stringify,
  },
};

test.each(Object.entries(serializers))(
  "with %s, callbacks get outcomes, although the application has replaced the global Promise",
  async (_, serializer) => {
    const space = newSpace();
    const indexBy = ({ user }: { readonly user?: unknown }) => user as string | undefined;
    const { store } = await startNode(space, { store: { serializer, indexBy } });
    replacePromise();
    const calledBack = <T>(call: (callback: (...outcome: T[]) => void) => void) =>
      new Promise<T[]>((resolve) => call((...outcome) => resolve(outcome)));
    const get = async () => {
      const [error, session] = await calledBack<unknown>((callback) => store.get("s", callback));
      return [error, valuesOf(session as never)];
    };
    const session = sessionOf({ user: "ada" });
    expect(await calledBack((callback) => store.set("s", session, callback))).toEqual([null, undefined]);
    for (let i = 0; i < 3; i++) expect(await get()).toEqual([null, { user: "ada" }]);
    store.evictFromCache("s");
    expect(await get()).toEqual([null, { user: "ada" }]);
    expect(await calledBack((callback) => store.touch("s", sessionOf({}, 600_000), callback))).toEqual([
      null,
      undefined,
    ]);
    expect(await calledBack((callback) => store.length(callback))).toEqual([null, 1]);
    // Its index value is none.
    const [failure] = await calledBack((callback) => store.set("s", sessionOf({ user: 1 }), callback));
    expect(failure).toBeInstanceOf(TypeError);
    expect(await store.sessionsOf("ada")).toHaveLength(1);
    expect(await calledBack((callback) => store.destroy("s", callback))).toEqual([null, undefined]);
    expect(await store.get("s")).toBeNull();
  },
);
