// For language models: llms.txt lists the pages of the site (https://llmstxt.org), llms-full.txt contains all guides.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Renderer } from "typedoc";
import { groupsOfIndex, pagesOfIndex } from "./docs-index.mjs";

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.renderer.on(Renderer.EVENT_END, ({ outputDirectory, project }) => {
    const { router } = app.renderer;
    const readme = readFileSync("README.md", "utf8");
    const about = (/^# .+\n+([\s\S]*?)\n\n/.exec(readme)?.[1] ?? "").replaceAll("\n", " ");
    const pages = pagesOfIndex().map((page) => {
      const document = project.documents?.find((each) =>
        project.files.getReflectionPath(each)?.endsWith(`/${page.path}`),
      );
      return { ...page, name: document?.name ?? page.path, url: document && router?.getFullUrl(document) };
    });
    const sections = groupsOfIndex().map((group) => {
      const links = pages
        .filter((page) => page.group === group)
        .map(({ name, url, about }) => `- [${name}](${url})${about && `: ${plain(about)}`}`);
      return `## ${group}\n\n${links.join("\n")}\n`;
    });
    const modules = (project.children ?? []).map(
      (module) => `- [${module.name}](${router?.getFullUrl(module)})`,
    );
    sections.push(`## All types\n\n${modules.join("\n")}\n`);
    sections.push("## Optional\n\n- [All guides in one file](llms-full.txt)\n");
    const head = `# ${project.name}\n\n> ${about}\n\nVersion ${project.packageVersion}. MIT licence.\n`;
    writeFileSync(join(outputDirectory, "llms.txt"), [head, ...sections].join("\n"));

    const whole = ["README.md", ...pages.map(({ path }) => path).filter((path) => path.startsWith("docs/"))];
    const texts = whole.map((path) => `<!-- ${path} -->\n\n${readFileSync(path, "utf8").trim()}\n`);
    writeFileSync(join(outputDirectory, "llms-full.txt"), texts.join("\n"));
  });
}

/** Links of the index lead to files, which are elsewhere on the site. */
function plain(text) {
  return text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}
