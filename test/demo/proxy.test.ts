import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { answer, startProxy } from "../../docs/examples/demo/proxy.ts";

interface Asked {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

/** The proxy before one node, which answers everything with its path; `/page` is answered aside. */
async function start(): Promise<(asked: Asked) => Promise<[status: number, text: string]>> {
  const node = createServer((req, res) => answer(res, 200, `node: ${req.url}`)).listen(0, "127.0.0.1");
  await once(node, "listening");
  const upstream = { number: 1, port: (node.address() as AddressInfo).port };
  const proxy = await startProxy([upstream], 0, (_req, res, { pathname }) => {
    if (pathname !== "/page") return false;
    answer(res, 200, "page");
    return true;
  });
  onTestFinished(() => {
    proxy.close();
    node.close();
  });
  return async ({ path = "/page", method = "GET", headers = {} }) => {
    const asked = request({ host: "127.0.0.1", port: proxy.port, path, method, headers }).end();
    const [response] = await once(asked, "response");
    let text = "";
    for await (const chunk of response) text += chunk;
    return [response.statusCode, text.trim()];
  };
}

test("its own pages and programs are answered, by any name of this machine", async () => {
  const ask = await start();
  expect(await ask({})).toEqual([200, "page"]);
  expect(await ask({ path: "/me?a=b" })).toEqual([200, "node: /me?a=b"]);
  for (const host of ["127.0.0.1:8000", "localhost", "[::1]:3000"]) {
    expect(await ask({ headers: { host } })).toEqual([200, "page"]);
    const own = { host, origin: `http://${host}` };
    expect(await ask({ method: "POST", headers: own })).toEqual([200, "page"]);
    expect(await ask({ method: "POST", path: "/login", headers: own })).toEqual([200, "node: /login"]);
  }
});

test.each<[string, Record<string, string>]>([
  ["another page", { origin: "https://example.org" }],
  ["a page in a sandbox", { origin: "null" }],
  ["a page on another port", { host: "localhost:3000", origin: "http://localhost:3001" }],
  ["a page whose name resolves to this machine", { host: "example.org", origin: "http://example.org" }],
  ["a name that begins like this machine's", { host: "localhost.example.org" }],
])("%s gets nothing, neither from the page nor from a node", async (_who, headers) => {
  const ask = await start();
  for (const path of ["/page", "/login", "//"]) {
    for (const method of ["GET", "POST"]) expect((await ask({ path, method, headers }))[0]).toBe(403);
  }
});

test.each(["//", "///", "//page", "//[", "/\\", "/%", "/?%", "/page:1:2"])(
  "the path %s goes to a node, and does not end the proxy",
  async (path) => {
    const ask = await start();
    expect(await ask({ path })).toEqual([200, `node: ${path}`]);
    expect(await ask({})).toEqual([200, "page"]);
  },
);

test.each(["http://example.org/page", "*", "page", "http://["])("the target %s is refused", async (path) => {
  const ask = await start();
  expect((await ask({ path, method: path === "*" ? "OPTIONS" : "GET" }))[0]).toBe(400);
  expect(await ask({})).toEqual([200, "page"]);
});
