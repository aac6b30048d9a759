// TypeDoc calls a page by its file. Here it gets the name that its heading gives it, up to the first comma or colon.
import { Converter } from "typedoc";

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, page) => {
    const text = page.content.map((part) => part.text).join("");
    const [, title] = /^# ([^,:\n]+)/m.exec(text) ?? [];
    if (title !== undefined) page.name = title;
  });
}
