// The first page of the site is README.md, whose first lines become its head: name and version, what it is, where to go, three claims.
import { Converter, JSX } from "typedoc";

const LINKS = [
  ["Get started", "docs/guides/getting-started.md"],
  ["Coming from connect-redis", "docs/guides/migrating.md"],
  ["All guides", "docs/README.md"],
];

/** @param {import("typedoc").Application} app */
export function load(app) {
  let head = { about: "", claims: "" };
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const [first, ...rest] = project.readme ?? [];
    if (first?.kind !== "text") return;
    // The text up to its first relative link, which is the picture.
    const end = first.text.search(/^(!\[|## )/m);
    head = splitHead(end === -1 ? first.text : first.text.slice(0, end));
    project.readme = [{ kind: "text", text: end === -1 ? "" : first.text.slice(end) }, ...rest];
  });
  app.renderer.hooks.on("content.begin", (context) => {
    const { page } = context;
    if (page.url !== "index.html") return JSX.createElement(JSX.Fragment, null);
    const { name, packageVersion, documents = [], files } = page.project;
    const urlOf = (path) =>
      context.urlTo(documents.find((each) => files.getReflectionPath(each)?.endsWith(`/${path}`)));
    const markdown = (text) =>
      JSX.createElement(JSX.Raw, { html: context.markdown([{ kind: "text", text }]) });
    return JSX.createElement(
      "section",
      { class: "landing tsd-typography" },
      JSX.createElement("h1", null, name, " ", JSX.createElement("small", null, `v${packageVersion}`)),
      markdown(head.about),
      JSX.createElement(
        "p",
        { class: "landing-links" },
        LINKS.map(([text, path]) => JSX.createElement("a", { href: urlOf(path) }, text)),
      ),
      markdown(head.claims),
    );
  });
}

/** @param {string} text the first lines of README.md: heading, paragraph, perhaps a list */
function splitHead(text) {
  const withoutHeading = text.replace(/^# .+\n/, "");
  const list = withoutHeading.search(/^- /m);
  if (list === -1) return { about: withoutHeading, claims: "" };
  return { about: withoutHeading.slice(0, list), claims: withoutHeading.slice(list) };
}
