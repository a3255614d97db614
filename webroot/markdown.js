// Markdown of model output -> DOM nodes.  Safe by construction: only createElement and text nodes, links only to the web
// and to mail, images become links.  Each outermost block takes its writing direction from its own first letters.

import { codeFrame, codeIn, unturned } from "./code.js";
import { h } from "./dom.js";
import { blocks, isWeb, within } from "./lexer.js";
import { formula } from "./formulas.js";

/** Shows a growing text in root.  What has not changed keeps its nodes, and with them what is selected. */
export class Markdown {
  #root;
  #shown = []; // Shown, one node of root each
  #settled = ""; // the text of the first of them, which will not change any more
  #nSettled = 0;

  constructor(root) {
    this.#root = root;
  }

  /** done: nothing more will come. */
  update(text, done = true) {
    const source = opened(text.replace(/\r\n?/g, "\n"));
    if (!source.startsWith(this.#settled)) {
      this.#settled = "";
      this.#nSettled = 0;
    }
    const from = this.#settled.length;
    const found = [...blocks(source.slice(from))];
    const tokens = found.map(({ token }) => token);
    show(this.#root, this.#shown, tokens, this.#nSettled);
    for (const { node } of this.#shown.slice(this.#nSettled)) node.dir ||= "auto";
    for (const { end, isSettled } of found) {
      if (!isSettled) break;
      this.#settled = source.slice(0, from + end);
      finish(this.#shown[this.#nSettled++].node);
    }
    if (done) for (const { node } of this.#shown.slice(this.#nSettled)) finish(node);
  }
}

/** Some templates write the tag that opens a thought themselves, so only the one that closes it is there. */
function opened(text) {
  const close = text.search(/^<\/think>[ \t]*$/m);
  return close < 0 || text.lastIndexOf("<think>", close) >= 0 ? text : `<think>${text}`;
}

/** The code in a node will not change any more. */
function finish(node) {
  for (const frame of [node, ...(node.querySelectorAll?.(".code") ?? [])]) codeIn(frame)?.finish();
}

/** Makes the children of a node, and the list of what is shown there, those of the tokens: what is unchanged stays, the
 *  one where the texts part grows, what comes after it is new.  The first `from` children are not looked at. */
function show(parent, shown, tokens, from = 0) {
  let same = from;
  while (shown[same]?.shows(tokens[same - from])) same++;
  if (shown[same]?.becomes(tokens[same - from])) same++;
  while (shown.length > same) shown.pop().node.remove();
  shown.push(...tokens.slice(same - from).map((token) => new Shown(token)));
  parent.append(...shown.slice(same).map(({ node }) => node));
}

class Shown {
  #kind;
  #shape;
  #raw;
  #inner = []; // what is shown within

  constructor(token) {
    this.#kind = kindOf(token);
    this.#shape = this.#kind.shape?.(token);
    this.node = this.#kind.make(token);
    this.#fill(token);
  }

  shows(token) {
    return token !== undefined && this.#fits(token) && token.raw === this.#raw;
  }

  /** Whether it can change into a token, and now has. */
  becomes(token) {
    const can = token !== undefined && this.#fits(token) && Boolean(this.#kind.parts || this.#kind.fill);
    if (can) this.#fill(token);
    return can;
  }

  #fits(token) {
    return kindOf(token) === this.#kind && this.#kind.shape?.(token) === this.#shape;
  }

  #fill(token) {
    const { parts, fill, into } = this.#kind;
    this.#raw = token.raw;
    if (parts) show(into?.(this.node) ?? this.node, this.#inner, parts(token));
    fill?.(this.node, token);
  }
}

const text = (value) => document.createTextNode(value);
const element = (tag) => ({ make: () => h(tag), parts: within });
const anchor = (href, ...inner) => h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inner);

const rawOf = (cells) => cells.map((cell) => cell.text).join("|");
const ofRows = ({ rows }) => rows.map((cells) => ({ type: "row", raw: rawOf(cells), cells }));

// Every kind of token: make(token) -> node; what may not differ in a token that it can change into (shape); the tokens
// within it (parts) and the node that these go to (into); or what else is done whenever the token has changed (fill).
const KINDS = {
  paragraph: element("p"),
  heading: {
    shape: ({ depth }) => depth,
    make: ({ depth }) => h(`h${Math.min(depth + 2, 6)}`), // the page itself has h1 and h2
    parts: within,
  },
  blockquote: { make: () => h("blockquote"), parts: ({ tokens }) => withoutSpace(tokens) },
  list: {
    shape: ({ start }) => start,
    make: ({ ordered, start }) => h(ordered ? "ol" : "ul", { start: ordered && start !== 1 ? start : null }),
    parts: ({ items }) => items,
  },
  list_item: {
    shape: ({ task }) => task,
    make: ({ task }) => h("li", { class: task ? "task" : null }),
    parts: ofItem,
  },
  table: {
    shape: ({ align }) => align.join(),
    make: () => h("div", { class: "table", tabindex: "0" }, h("table")),
    into: (node) => node.firstChild,
    parts: ({ header, rows, raw }) => [
      { type: "thead", raw: rawOf(header), rows: [header] },
      { type: "tbody", raw, rows },
    ],
  },
  thead: { make: () => h("thead"), parts: ofRows },
  tbody: { make: () => h("tbody"), parts: ofRows },
  row: { make: () => h("tr"), parts: ({ cells }) => cells.map((cell) => ({ ...cell, type: "cell", raw: cell.text })) },
  cell: {
    make: ({ header, align }) => h(header ? "th" : "td", { class: { center: "center", right: "end" }[align] }),
    parts: within,
  },
  code: {
    shape: languageOf,
    make: (token) => codeFrame(languageOf(token)),
    fill: (node, token) => codeIn(node).update(token.text.replace(/\n$/, "")),
  },
  thoughts: {
    make: () => h("div", {}, h("details", { class: "thoughts" }, h("summary", {}, "Thoughts"), h("div"))),
    fill: (node, token) => thoughtsIn(node).update(token.text),
  },
  hr: { make: () => h("hr") },
  math: { make: ({ tex, display, raw }) => formula(tex, display, raw.trim()) },
  text: { make: (token) => text(token.text) },
  escape: { make: (token) => text(token.text) },
  checkbox: { make: ({ checked }) => text(checked ? "☑ " : "☐ ") },
  strong: element("strong"),
  em: element("em"),
  del: element("del"),
  codespan: { make: (token) => h("code", { dir: "auto" }, unturned(token.text)) },
  br: { make: () => h("br") },
  link: { shape: ({ href }) => href, make: ({ href }) => anchor(href), parts: within },
  image: { make: (token) => anchor(token.href, ...unturned(token.text || token.href)) },
  unsafe: { make: ({ raw }) => text(raw) },
};

function kindOf({ type, tokens, href }) {
  if (href !== undefined && !isWeb(href)) return KINDS.unsafe;
  if (type === "unclosed" || (type === "text" && tokens)) return KINDS.paragraph;
  return KINDS[type] ?? KINDS.unsafe;
}

const withoutSpace = (tokens) => tokens.filter(({ type }) => type !== "space");

/** The mark of a task stands in the first line of its text. */
function ofItem({ tokens }) {
  const [mark, first] = tokens;
  if (mark?.type === "checkbox" && first?.tokens) {
    tokens.shift();
    first.raw = mark.raw + first.raw;
    first.tokens.unshift(mark);
  }
  return withoutSpace(tokens);
}

function languageOf({ lang }) {
  return /^[^\s`]*/.exec(lang ?? "")[0];
}

const thinking = new WeakMap();

function thoughtsIn(node) {
  const box = node.querySelector("div");
  if (!thinking.has(box)) thinking.set(box, new Markdown(box));
  return thinking.get(box);
}
