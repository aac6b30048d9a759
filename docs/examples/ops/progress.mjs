const WIDTH = 30;
const EVERY = 100;

/** Passes on what it iterates over, and shows on stderr how far it has come. @param total how many to expect, about */
export async function* trackProgress(items, total) {
  let done = 0;
  let isComplete = false;
  // Ends at the beginning of the line: what is printed next stands there, and not behind the bar.
  const show = (end = "\r") => {
    const part = isComplete ? 1 : Math.min(0.99, done / Math.max(1, total));
    const bar = "#".repeat(Math.round(part * WIDTH)).padEnd(WIDTH, ".");
    process.stderr.write(`[${bar}] ${Math.floor(part * 100)} %  ${done} of about ${total}${end}`);
  };
  try {
    for await (const item of items) {
      if (done % EVERY === 0) show();
      done++;
      yield item;
    }
    isComplete = true;
  } finally {
    show("\n");
  }
}
