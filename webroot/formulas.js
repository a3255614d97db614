// Formulas.  The library that typesets them is fetched when the first one comes; it builds nodes, not markup.  Without it,
// and where it cannot, there is the source.

import { h, library } from "./dom.js";

const MAX_TEX = 2000; // characters; it takes time
const MAX_NESTED = 24; // groups in each other; each level takes the time of all within it
const MAX_LEVELS = 150; // of elements in each other, fifteen fractions or so; browsers crash at some hundreds
const MAX_FORMULAS = 400; // kept typeset
// What defines commands: 20 characters may become millions.
const DEFINES = /\\(?:[gex]?def|(?:future)?let|(?:re)?newcommand|providecommand)(?![A-Za-z])/;

let typesetter = null;
const loadTypesetter = library(async () => {
  const { katex } = await import("./vendor/katex.js");
  document.head.append(h("link", { rel: "stylesheet", href: "vendor/katex.css" }));
  return (typesetter = katex);
});
const formulas = new Map(); // source -> nodes

/** A formula.  source: as it was written, shown until it is typeset, and where it cannot be. */
export function formula(tex, display, source) {
  const node = h(
    "span",
    { class: display ? "math block" : "math", dir: "ltr", tabindex: display ? "0" : null },
    source,
  );
  if (tex.length > MAX_TEX || DEFINES.test(tex) || nesting(tex) > MAX_NESTED) return node;
  if (typesetter) typeset(node, tex, display);
  else loadTypesetter().then((found) => found && typeset(node, tex, display));
  return node;
}

function typeset(node, tex, display) {
  const name = `${display}${tex}`;
  if (!formulas.has(name)) {
    if (formulas.size >= MAX_FORMULAS) formulas.clear();
    const made = h("span");
    try {
      typesetter.render(tex, made, {
        displayMode: display,
        maxExpand: 200,
        maxSize: 20,
        strict: "ignore",
        trust: false,
      });
      if (isDeep(made)) throw new RangeError("too deep");
    } catch {
      made.replaceChildren(node.textContent); // no formula after all
    }
    formulas.set(name, made);
  }
  node.replaceChildren(...formulas.get(name).cloneNode(true).childNodes);
}

function nesting(tex) {
  let most = 0;
  let depth = 0;
  for (const [sign] of tex.matchAll(/\\(?:left|right|begin|end)(?![A-Za-z])|\\[^]|[{}]/g)) {
    if (["{", "\\left", "\\begin"].includes(sign)) most = Math.max(most, ++depth);
    else if (["}", "\\right", "\\end"].includes(sign)) depth--;
  }
  return most;
}

/** Nested without any sign of it, as by \frac1\frac1. */
function isDeep(root) {
  let level = [root];
  for (let n = 0; n < MAX_LEVELS && level.length > 0; n++) level = level.flatMap((node) => [...node.children]);
  return level.length > 0;
}
