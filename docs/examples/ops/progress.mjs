const WIDTH = 30;
const EVERY = 100;

/** Passes on what it iterates over, and shows on stderr how far it has come. @param total how many to expect, about */
export async function* trackProgress(items, total) {
  let done = 0;
  const show = (count, end) => {
    const part = total === 0 ? 1 : Math.min(1, count / total);
    const bar = "#".repeat(Math.round(part * WIDTH)).padEnd(WIDTH, ".");
    process.stderr.write(`\r[${bar}] ${Math.floor(part * 100)} %  ${count} of about ${total}${end}`);
  };
  try {
    for await (const item of items) {
      if (done % EVERY === 0) show(done, "");
      done++;
      yield item;
    }
  } finally {
    show(done, "\n");
  }
}
