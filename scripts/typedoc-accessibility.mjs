// What TypeDoc's theme lacks for screen readers and keyboards: a main landmark, and tables that scroll by themselves.
import { PageEvent } from "typedoc";

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.renderer.on(PageEvent.END, (page) => {
    page.contents = page.contents
      ?.replace('<div class="col-content">', '<div class="col-content" role="main">')
      .replaceAll("<table>", '<table tabindex="0">');
  });
}
