// Blocks of code: a frame with the language and a button that copies, and colours, which come piece by piece while the
// code grows.  The highlighter's output is read span by span, so nothing here writes markup.

import { copyButton, h, library } from "./dom.js";

const PIECE = 1000; // characters, coloured at once; what some grammars do takes the square of it
const PATIENCE_MS = 4; // a piece that took less may be twice as long where it ends within a comment or a text
const TAG = /<span class="([\w -]*)">|(<\/span>)|&(amp|lt|gt|quot|#x27);|([^<&]+)/g;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };
const TURNS = /([\u202a-\u202e\u2066-\u2069])/; // characters that make those behind them run the other way

const highlighter = library(async () => (await import("./vendor/highlight.js")).hljs);
const frames = new WeakMap(); // node -> Code

export function codeFrame(language) {
  const code = h("code", { "data-language": language || null });
  const copy = copyButton("Copy code", () => code.textContent);
  const head = h("div", { class: "code-head" }, h("span", {}, language || "code"), copy);
  const node = h("div", { class: "code", dir: "ltr" }, head, h("pre", { tabindex: "0" }, code));
  frames.set(node, new Code(code, language));
  return node;
}

export const codeIn = (frame) => frames.get(frame);

/** Text as nodes, in which what turns the direction of text is to be seen and turns nothing. */
export function unturned(text) {
  const seen = (sign) => h("bdi", { class: "turn", title: "A character that turns the direction of text" }, sign);
  return text.split(TURNS).map((part, i) => (i % 2 ? seen(part) : part));
}

class Code {
  #node;
  #language;
  #text = "";
  #tail = document.createTextNode(""); // what has no colours yet
  #size = PIECE;
  #isWhole = false;
  #isDue = false;

  constructor(node, language) {
    this.#node = node;
    this.#language = language;
    node.append(this.#tail);
  }

  /** The code is this now.  What only grows keeps its nodes, and with them what is selected. */
  update(text) {
    if (text.startsWith(this.#text)) this.#tail.appendData(text.slice(this.#text.length));
    else this.#restart(text);
    this.#text = text;
    this.#isWhole = false;
    if (this.#tail.length > this.#size) this.#colourSoon();
  }

  /** It will not change any more. */
  finish() {
    this.#isWhole = true;
    this.#colourSoon();
  }

  #restart(text) {
    this.#tail.data = text;
    this.#node.replaceChildren(this.#tail);
    this.#size = PIECE;
  }

  async #colourSoon() {
    if (this.#isDue || !this.#language) return;
    this.#isDue = true;
    const hljs = await highlighter();
    if (hljs?.getLanguage(this.#language)) idle(() => this.#colour(hljs), { timeout: 1000 });
  }

  #colour(hljs) {
    this.#isDue = false;
    const text = this.#tail.data.slice(0, this.#size);
    const isLast = this.#isWhole && text.length === this.#tail.length;
    if (!isLast && text.length < this.#size) return; // more will come
    if (isSelected(this.#tail)) return setTimeout(() => this.#colourSoon(), 1000); // not under the reader's hand
    const begin = performance.now();
    const nodes = spans(hljs.highlight(text, { language: this.#language, ignoreIllegals: true }).value);
    const cost = performance.now() - begin;
    if (!isLast) endBetweenSpans(nodes);
    const end = nodes.textContent.length;
    this.#tail.before(nodes);
    this.#tail.deleteData(0, end);
    if (end > 0) this.#size = PIECE;
    else this.#size = cost < PATIENCE_MS ? 2 * this.#size : Infinity; // the rest stays plain
    if (this.#isWhole ? !isLast && this.#size < Infinity : this.#tail.length > this.#size) this.#colourSoon();
  }
}

const isSelected = (node) => !getSelection().isCollapsed && getSelection().containsNode(node, true);

/** Takes away what comes after the last line break that stands in no span. */
function endBetweenSpans(nodes) {
  while (nodes.lastChild) {
    const { lastChild: last } = nodes;
    const end = last instanceof Text ? last.data.lastIndexOf("\n") + 1 : 0;
    if (end > 0) return last.deleteData(end, last.length);
    last.remove();
  }
}

function spans(markup) {
  const root = document.createDocumentFragment();
  let into = root;
  for (const [, opens, closes, entity, text] of markup.matchAll(TAG)) {
    if (opens !== undefined) into = into.appendChild(h("span", { class: opens }));
    else if (closes) into = into.parentNode;
    else into.append(...unturned(text ?? ENTITIES[entity]));
  }
  root.normalize();
  return root;
}

const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));
