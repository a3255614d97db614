// Frames of code and formulas, and the two libraries that colour and typeset them.  Each is fetched when first needed;
// without it there is plain text.  Nothing here writes markup: colours are read from the highlighter's output, which
// knows spans and four entities only, and formulas are built by the library as nodes.

import { copyButton, h } from "./dom.js";

const MAX_CODE = 30_000; // longer code stays plain
const MAX_FORMULAS = 400; // kept typeset
const PIECE = /<span class="([\w -]*)">|(<\/span>)|&(amp|lt|gt|quot|#x27);|([^<&]+)/g;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };

const library = (load) => {
  let loading;
  return () => (loading ??= load().catch(() => null));
};
const highlighter = library(async () => (await import("./vendor/highlight.js")).hljs);
const loadKatex = library(async () => {
  const { katex } = await import("./vendor/katex.js");
  document.head.append(h("link", { rel: "stylesheet", href: "vendor/katex.css" }));
  return (typesetter = katex);
});
let typesetter = null;
const formulas = new Map(); // source -> nodes

const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));

/** A block of code with its language and a button that copies it. */
export function codeFrame(language, text) {
  const code = h("code", { "data-language": language || null }, text);
  const copy = copyButton("Copy code", () => code.textContent);
  const head = h("div", { class: "code-head" }, h("span", {}, language || "code"), copy);
  return h("div", { class: "code", dir: "ltr" }, head, h("pre", { tabindex: "0" }, code));
}

/** Colours the code in a node that will not change any more, when there is time. */
export function enrich(node) {
  for (const code of node.querySelectorAll?.("code[data-language]") ?? []) idle(() => colour(code), { timeout: 1000 });
}

async function colour(code) {
  const { language } = code.dataset;
  const source = code.textContent;
  if (source.length > MAX_CODE) return;
  const hljs = await highlighter();
  if (!hljs?.getLanguage(language) || code.textContent !== source || code.childElementCount > 0) return;
  code.replaceChildren(spans(hljs.highlight(source, { language, ignoreIllegals: true }).value));
}

function spans(markup) {
  const root = document.createDocumentFragment();
  let into = root;
  for (const [, opens, closes, entity, text] of markup.matchAll(PIECE)) {
    if (opens !== undefined) into = into.appendChild(h("span", { class: opens }));
    else if (closes) into = into.parentNode;
    else into.append(text ?? ENTITIES[entity]);
  }
  return root;
}

/** A formula.  source: as it was written, shown until it is typeset, and where it cannot be. */
export function formula(tex, display, source) {
  const node = h(
    "span",
    { class: display ? "math block" : "math", dir: "ltr", tabindex: display ? "0" : null },
    source,
  );
  if (typesetter) typeset(node, tex, display);
  else loadKatex().then(() => typesetter && typeset(node, tex, display));
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
    } catch {
      made.replaceChildren(node.textContent); // no formula after all
    }
    formulas.set(name, made);
  }
  node.replaceChildren(...formulas.get(name).cloneNode(true).childNodes);
}
