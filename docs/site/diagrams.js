// Draws the diagrams of a page, in the colours of its theme. Where it does not run, their text stays.
/* global mermaid */

const page = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const diagrams = [...document.querySelectorAll("pre > code.mermaid")].map((code) => {
  const pre = /** @type {HTMLElement} */ (code.parentElement);
  const figure = document.createElement("figure");
  figure.className = "diagram";
  figure.style.margin = "1rem 0";
  pre.after(figure);
  pre.querySelector("button")?.remove();
  return { pre, figure, text: code.textContent ?? "" };
});

async function draw() {
  const { theme } = page.dataset;
  const isDark = theme === "dark" || (theme !== "light" && prefersDark.matches);
  mermaid.initialize({
    startOnLoad: false,
    suppressErrorRendering: true,
    theme: isDark ? "dark" : "neutral",
    sequence: { actorMargin: 10, mirrorActors: false },
  });
  for (const [i, { pre, figure, text }] of diagrams.entries()) {
    const { svg } = await mermaid.render(`diagram-${i}`, text);
    figure.innerHTML = svg;
    pre.hidden = true;
  }
}

/** TypeDoc hides the page until its own script has run. What is hidden has no size, and mermaid fails. */
function shown() {
  return new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
    const check = () => {
      if (document.body.style.display === "none") requestAnimationFrame(check);
      else resolve();
    };
    check();
  });
}

// One after the other: two at once would draw under the same names.
let drawn = shown().then(draw);
const redraw = () => {
  drawn = drawn.then(draw);
};
new MutationObserver(redraw).observe(page, { attributeFilter: ["data-theme"] });
prefersDark.addEventListener("change", redraw);
