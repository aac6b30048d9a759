// @ts-check

const steps = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("#steps > li")]);

/**
 * Checks a step of the tour; the first that is open is the current one.
 * @param {string} name
 */
export function completeStep(name) {
  const step = steps.find(({ dataset }) => dataset["step"] === name);
  if (step === undefined || step.dataset["done"] === "true") return;
  step.dataset["done"] = "true";
  const done = document.createElement("span");
  done.className = "unseen";
  done.textContent = "(done) ";
  step.prepend(done);
  showCurrent();
}

function showCurrent() {
  const current = steps.find(({ dataset }) => dataset["done"] !== "true");
  for (const step of steps) step.ariaCurrent = step === current ? "step" : null;
}

showCurrent();
