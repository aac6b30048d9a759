import { bold, dim, green, red, yellow } from "./paint.ts";
import type { Happening } from "./play.ts";
import type { Step } from "./script.ts";
import type { Tally } from "./tally.ts";
import type { Answer } from "./visitor.ts";

/** Shows a script as it is played, in lines of at most 100 columns. */
export class Table {
  #step = 0;

  head(): string {
    return dim(row("step", "from", "request", "node", "session", "Redis commands", "time", "seen").trimEnd());
  }

  line(happening: Happening): string {
    switch (happening.type) {
      case "scene":
        return `\n  ${bold(happening.title)}`;
      case "received":
        return receivedLine(happening);
      case "answer":
        return this.#answerLine(happening.step, happening.answer, happening.isAsExpected);
    }
  }

  #answerLine(step: Step, answer: Answer, isAsExpected: boolean): string {
    const { node, read, commands, ms, seen } = answer;
    const request = `${step.method.padEnd(4)} ${step.path}`;
    const session = read === "none" ? "–" : read;
    const number = `${++this.#step}`;
    const cells = row(number, step.from, request, `${node}`, session, `${commands}`, milliseconds(ms), seen);
    const line = cells.replace(/ (hit|miss|bypass) /, (cell) => (read === "hit" ? green : yellow)(cell));
    return isAsExpected ? `${line}${green("✓")}` : `${line}${red("✗")}\n${red(expectedLine(step))}`;
  }
}

function expectedLine({ node, read, seen, needsRedis }: Step): string {
  const where = node === undefined ? "any node" : `node ${node}`;
  const commands = needsRedis ? "some Redis commands" : "no Redis command";
  return `        expected: ${where}, session: ${read}, ${commands}, seen: ${seen}`;
}

function receivedLine({ nodes, ms, inTime }: Extract<Happening, { type: "received" }>): string {
  const who = `nodes ${nodes.join(" and ")}`;
  return inTime
    ? dim(`        waited until ${who} had received it: ${milliseconds(ms)}`)
    : red(`        ✗ ${who} have not received it after ${milliseconds(ms)}`);
}

/** What the script came to. */
export function summary({ reads, readsFromMemory, steps, failures }: Tally): string {
  const share = Math.round((100 * readsFromMemory) / Math.max(reads, 1));
  const verdict =
    failures === 0
      ? green(`✓ All ${steps} steps saw what they should.`)
      : red(`✗ ${failures} of ${steps} steps did not see what they should.`);
  return `  ${verdict}\n  ${bold(`${readsFromMemory} of ${reads} reads (${share} %) never reached Redis.`)}`;
}

function row(
  step: string,
  from: string,
  request: string,
  node: string,
  session: string,
  commands: string,
  time: string,
  seen: string,
): string {
  const whence = `  ${step.padStart(4)}  ${from.padEnd(7)}${request.padEnd(22)}${node.padEnd(5)}`;
  return `${whence}${session.padEnd(9)}${commands.padStart(14)}${time.padStart(10)}   ${seen.padEnd(20)}`;
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}
