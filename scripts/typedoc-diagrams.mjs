// TypeDoc shows a mermaid block as text. Here the pages that have one draw it, with a copy of mermaid beside them.
import { copyFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { JSX, Renderer } from "typedoc";

const require = createRequire(import.meta.url);
const SCRIPTS = {
  "mermaid.js": require.resolve("@mermaid-js/tiny"),
  "diagrams.js": fileURLToPath(new URL("../docs/site/diagrams.js", import.meta.url)),
};

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.renderer.hooks.on("body.end", ({ page, relativeURL }) => {
    const isDrawnOn =
      page.model.isDocument() && page.model.content.some(({ text }) => text.includes("```mermaid"));
    const names = isDrawnOn ? Object.keys(SCRIPTS) : [];
    return JSX.createElement(
      JSX.Fragment,
      null,
      names.map((name) =>
        JSX.createElement("script", { defer: true, src: relativeURL(`assets/${name}`) ?? "" }),
      ),
    );
  });
  app.renderer.on(Renderer.EVENT_END, ({ outputDirectory }) => {
    for (const [name, path] of Object.entries(SCRIPTS))
      copyFileSync(path, join(outputDirectory, "assets", name));
  });
}
