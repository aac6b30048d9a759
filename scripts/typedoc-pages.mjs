// The pages of the site are those of docs/README.md, in its groups. TypeDoc calls a page by its file; here it gets the name that
// its heading gives it, up to the first comma or colon.
import { relative, resolve } from "node:path";
import { Application, Converter } from "typedoc";
import { groupsOfIndex, pagesOfIndex } from "./docs-index.mjs";

/** @param {import("typedoc").Application} app */
export function load(app) {
  const pages = pagesOfIndex();
  app.on(Application.EVENT_BOOTSTRAP_END, () => {
    app.options.setValue(
      "projectDocuments",
      pages.map(({ path }) => path),
    );
    app.options.setValue("groupOrder", [...groupsOfIndex(), "*"]);
  });
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, page) => {
    const text = page.content.map((part) => part.text).join("");
    const [, title] = /^# ([^,:\n]+)/m.exec(text) ?? [];
    if (title !== undefined) page.name = title;
    const file = page.project.files.getReflectionPath(page) ?? "";
    const entry = pages.find(({ path }) => relative(resolve(path), file) === "");
    if (entry !== undefined) page.frontmatter.group = entry.group;
  });
  app.converter.on(
    Converter.EVENT_RESOLVE_END,
    ({ project }) => {
      const modules = project.groups?.find(({ title }) => title === "Modules");
      if (modules !== undefined) modules.title = "All types";
    },
    // Once the groups are made.
    -1_000,
  );
}
