import { bold, dim } from "./paint.ts";

/** What to try while the nodes stay up. */
export function suggestions(origin: string): string {
  const post = `curl -i -b jar -c jar -X POST`;
  const get = "curl -i -b jar";
  const tries: readonly (readonly [command: string, what: string])[] = [
    [`${post} '${origin}/login?user=grace'`, "log in on whichever node's turn it is"],
    [`${get} ${origin}/me`, "again and again: a miss on each node, then hits"],
    [`${get} -H 'x-demo-node: 2' ${origin}/me`, "the same on node 2"],
    [`${post} '${origin}/theme?name=light'`, "the others miss once, and see it"],
    [`${post} -H 'x-demo-node: 3' ${origin}/logout`, "no node accepts the cookie any more"],
    [`curl -s -H 'x-demo-node: 1' ${origin}/stats`, "what node 1 has counted"],
  ];
  return [
    `  ${bold("The nodes stay up. Open the page:")} ${origin}/\n`,
    `  ${bold('A user\'s devices, and "log out the others":')} ${origin}/account\n`,
    `  ${bold("Or try in another terminal:")}\n`,
    ...tries.map(([command, what]) => `    ${dim(`# ${what}`)}\n    ${command}\n`),
    "  Each answer says in its headers which node gave it, whether the session was a hit, and how many",
    "  commands went to Redis. A hit with one command is a touch, which extends the key: it is sent",
    "  when 1 % of the session's hour has gone by.\n",
    `  ${bold("Ctrl-C")} ends everything.\n`,
  ].join("\n");
}
