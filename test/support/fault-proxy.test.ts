import { EventEmitter } from "node:events";
import { createServer } from "node:net";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { connected, connectedRaw, Inbox } from "./connections.ts";
import { eventually, nextEvent } from "./eventually.ts";
import { type FaultProxy, startProxy } from "./fault-proxy.ts";

describe("the proxy, byte by byte", () => {
  /** A server that is only a socket, behind a proxy. */
  async function rawServer() {
    const accepted = new EventEmitter();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      onTestFinished(() => void socket.destroy());
      accepted.emit("inbox", new Inbox(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const proxy = await startProxy(`redis://user:pass%20word@127.0.0.1:${address.port}/3`);
    onTestFinished(() => proxy.close());
    const connect = async () => {
      const inbox = nextEvent(accepted, "inbox");
      const client = await connectedRaw(proxy.url);
      return { client, server: (await inbox)[0] as Inbox };
    };
    return { proxy, connect, close: () => server.close() };
  }

  async function say(proxy: FaultProxy, from: Inbox, direction: "toServer" | "toClient", text: string) {
    const arrived = proxy.seen(direction, text);
    from.socket.write(text);
    await arrived;
  }

  test("its URL is the target's, but for the address", async () => {
    const { proxy } = await rawServer();
    expect(proxy.url).toBe(`redis://user:pass%20word@127.0.0.1:${proxy.port}/3`);
  });

  test("what is held keeps its order, on each connection and in each direction for itself", async () => {
    const { proxy, connect } = await rawServer();
    const one = await connect();
    proxy.hold("toServer");
    const two = await connect();
    for (const text of ["a", "b", "c"]) await say(proxy, one.client, "toServer", text);
    await say(proxy, two.client, "toServer", "z");
    one.server.socket.write("other way");
    await one.client.has("other way");
    expect(one.server.text + two.server.text).toBe("");
    proxy.release("toServer");
    one.client.socket.write("d");
    await one.server.has("abcd");
    await two.server.has("z");
  });

  test("what is swallowed is lost, on connections old and new, until it passes again", async () => {
    const { proxy, connect } = await rawServer();
    const old = await connect();
    proxy.swallow("toClient");
    const young = await connect();
    await say(proxy, old.server, "toClient", "lost");
    await say(proxy, young.server, "toClient", "lost, too");
    proxy.release("toClient");
    await say(proxy, old.server, "toClient", "still lost");
    proxy.pass();
    old.server.socket.write("old");
    young.server.socket.write("young");
    await old.client.has("old");
    await young.client.has("young");
  });

  test("pass lets go what was held, and ends every other fault", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.hold("toServer");
    await say(proxy, client, "toServer", "held");
    proxy.cutAfter("toServer", 1);
    proxy.delay("toClient", 1_000_000);
    proxy.pass();
    await server.has("held");
    server.socket.write("at once");
    await client.has("at once");
  });

  test("what is delayed is overtaken by other connections, never by what follows on its own", async () => {
    const { proxy, connect } = await rawServer();
    const slow = await connect();
    const fast = await connect();
    proxy.delay("toServer", 3_000);
    await say(proxy, slow.client, "toServer", "first ");
    proxy.delay("toServer", 0);
    await say(proxy, slow.client, "toServer", "second");
    await say(proxy, fast.client, "toServer", "fast");
    await fast.server.has("fast");
    expect(slow.server.text).toBe("");
    await slow.server.has("first second");
  });

  test("a side that has ended can still be answered", async () => {
    const { connect } = await rawServer();
    const { client, server } = await connect();
    client.socket.end("question");
    await eventually(() => server.hasEnded);
    server.socket.end("answer");
    await client.has("answer");
    await eventually(() => client.isClosed && server.isClosed);
  });

  test("what a client sent before it disconnected arrives when it is released, and then its end", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.hold("toServer");
    await say(proxy, client, "toServer", "last will");
    client.socket.destroy();
    await eventually(() => client.isClosed);
    expect(server).toMatchObject({ text: "", hasEnded: false });
    proxy.release("toServer");
    await server.has("last will");
    await eventually(() => server.hasEnded);
  });

  test("the end of a swallowed connection is not seen until it passes again", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.swallow("toServer");
    await say(proxy, client, "toServer", "lost");
    client.socket.destroy();
    await eventually(() => client.isClosed);
    expect(server).toMatchObject({ text: "", hasEnded: false });
    proxy.pass();
    await eventually(() => server.hasEnded);
    expect(server.text).toBe("");
  });

  test("only the connections that send a text are held, from then on, until they are released", async () => {
    const { proxy, connect } = await rawServer();
    const [one, two] = [await connect(), await connect()];
    proxy.hold("toServer", "WAIT");
    proxy.hold("toClient", "LATE");
    for (const text of ["LATE WAIT", " more"]) await say(proxy, one.client, "toServer", text);
    await say(proxy, one.server, "toClient", "answer");
    two.client.socket.write("two");
    await two.server.has("two");
    two.server.socket.write("answer");
    await two.client.has("answer");
    expect(one.client.text + one.server.text).toBe("");
    proxy.release("toServer");
    await one.server.has("LATE WAIT more");
    expect(one.client.text).toBe("");
    proxy.release("toClient");
    await one.client.has("answer");
    one.client.socket.write(" WAIT");
    await one.server.has("LATE WAIT more WAIT");
  });

  test("cutBefore cuts at the text, when it has passed so often, and spares the next connection", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.cutBefore("toServer", "<>", 3);
    client.socket.write("a<>b");
    await server.has("a<>b");
    client.socket.write("c<>d<>e");
    await eventually(() => server.hasEnded);
    expect(server.text).toBe("a<>bc<>d");
    await eventually(() => proxy.connections === 0);
    const next = await connect();
    next.client.socket.write("<><><><>");
    await next.server.has("<><><><>");
  });

  test("cutAfter lets exactly so many bytes through, and spares the next connection", async () => {
    const { proxy, connect } = await rawServer();
    const victim = await connect();
    proxy.cutAfter("toServer", 6);
    victim.client.socket.write("abcd");
    await victim.server.has("abcd");
    victim.client.socket.write("efgh");
    await eventually(() => victim.client.hasEnded || victim.client.isClosed);
    await eventually(() => victim.server.hasEnded);
    expect(victim.server.text).toBe("abcdef");
    await eventually(() => proxy.connections === 0);
    const next = await connect();
    next.client.socket.write("all of it");
    await next.server.has("all of it");
  });

  test("connections are counted, cut, refused and accepted again", async () => {
    const { proxy, connect } = await rawServer();
    const [one, two] = [await connect(), await connect()];
    expect(proxy).toMatchObject({ connections: 2, accepted: 2 });
    proxy.cut();
    expect(proxy.connections).toBe(0);
    await eventually(() => [one.client, two.client, one.server, two.server].every((side) => side.hasEnded));
    const three = await connect();
    proxy.refuse();
    await eventually(() => three.client.hasEnded);
    const refused = await connectedRaw(proxy.url);
    await eventually(() => refused.hasEnded || refused.isClosed);
    expect(proxy).toMatchObject({ connections: 0, accepted: 4 });
    proxy.accept();
    const four = await connect();
    four.client.socket.write("welcome");
    await four.server.has("welcome");
  });

  test("a target that is not there closes the connection, and nothing else", async () => {
    const { proxy, close } = await rawServer();
    close();
    const client = await connectedRaw(proxy.url);
    await eventually(() => client.hasEnded || client.isClosed);
    await eventually(() => proxy.connections === 0);
  });

  test("seen finds a text that comes in two chunks, but not one made of two connections or from before", async () => {
    const { proxy, connect } = await rawServer();
    const one = await connect();
    const two = await connect();
    await say(proxy, one.client, "toServer", "needle");
    const sightings: string[] = [];
    const seen = proxy.seen("toServer", "needle").then(() => sightings.push("needle"));
    await say(proxy, one.client, "toServer", "nee");
    await say(proxy, two.client, "toServer", "dle");
    expect(sightings).toEqual([]);
    await say(proxy, one.client, "toServer", "dle");
    await seen;
    expect(sightings).toEqual(["needle"]);
  });

  test("seen gives up after a while, and when the proxy is closed, and names the text", async () => {
    const { proxy } = await rawServer();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const late = expect(proxy.seen("toServer", "PUBLISH x")).rejects.toThrow(
      /"PUBLISH x".*to the server.*60 s/,
    );
    vi.advanceTimersByTime(60_000);
    await late;
    const closed = expect(proxy.seen("toClient", "+OK")).rejects.toThrow(/closed.*"\+OK"/);
    await proxy.close();
    await closed;
  });
});

describe("the proxy before a real client", () => {
  async function throughProxy() {
    const proxy = await startProxy(inject("redisUrl"));
    onTestFinished(() => proxy.close());
    return { proxy, client: await connected(proxy.url) };
  }

  test("a reply that is held arrives when it is released", async () => {
    const { proxy, client } = await throughProxy();
    proxy.hold("toClient");
    const arrived = proxy.seen("toClient", "+PONG");
    const replies: string[] = [];
    const reply = client.ping().then((text) => replies.push(text));
    await arrived;
    expect(replies).toEqual([]);
    proxy.release("toClient");
    await reply;
  });

  test("a connection that is cut, in the middle of a reply or not, fails the command, and the client reconnects", async () => {
    const { proxy, client } = await throughProxy();
    for (const cut of [() => proxy.cut(), () => proxy.cutAfter("toClient", 3)]) {
      const ready = nextEvent(client, "ready");
      proxy.hold("toServer");
      const failure = expect(client.ping()).rejects.toThrow(/closed/i);
      await eventually(() => proxy.connections === 1);
      cut();
      proxy.release("toServer");
      await failure;
      await ready;
      expect(await client.ping()).toBe("PONG");
    }
  });

  test("a client that is refused reconnects when it is accepted", async () => {
    const { proxy, client } = await throughProxy();
    const before = proxy.accepted;
    proxy.refuse();
    await eventually(() => proxy.accepted > before + 1, { what: "it has tried again, twice" });
    const ready = nextEvent(client, "ready");
    proxy.accept();
    await ready;
    expect(await client.ping()).toBe("PONG");
  });

  test("a command that is swallowed stays without an answer", async () => {
    const { proxy, client } = await throughProxy();
    proxy.swallow("toServer");
    const arrived = proxy.seen("toServer", "SET");
    const key = `test:swallowed:${proxy.port}:${Date.now()}`;
    const fate = client.set(key, "v").catch((error: Error) => error.message);
    await arrived;
    expect(await (await connected(inject("redisUrl"))).exists(key)).toBe(0);
    client.destroy();
    expect(await fate).toMatch(/disconnect/i);
  });
});
