// Markdown of model output -> DOM nodes: the part of CommonMark and GitHub's tables that models write.
// Safe by construction: only createElement and text nodes, links only to http and https, images become links.
// Each outermost block takes its writing direction from its own first letters.
// Work is linear in the text (failed searches are remembered) and nesting is bounded.

import { h } from "./dom.js";
import { inline } from "./inline.js";
import { ITEM, RULE, isNumber, items, listEnd } from "./lists.js";
import { codeFrame, enrich, formula } from "./rich.js";

const MAX_DEPTH = 8;
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(\S.*)$/;
const QUOTE = /^ {0,3}> ?/;
const TABLE_RULE = /^[ |:\t-]+$/;
const UNDERLINE = /^ {0,3}(={3,}|-{3,})[ \t]*$/;
const DISPLAY = { $$: "$$", "\\[": "\\]" };
const MAX_DISPLAY = 60; // lines of a formula

/** Shows a growing text in root.  Blocks that have not changed keep their nodes, and with them what is selected. */
export class Markdown {
  #root;
  #shown = []; // blocks, one node of root each
  #enriched = 0; // so many of them will not change any more, and have got their colours

  constructor(root) {
    this.#root = root;
  }

  /** done: nothing more will come. */
  update(text, done = true) {
    const blocks = [...split(text.split(/\r?\n/))];
    let same = 0;
    while (same < blocks.length && this.#shown[same]?.source === blocks[same].source) same++;
    this.#enriched = Math.min(this.#enriched, same);
    if (this.#grow(same, blocks[same])) same++;
    while (this.#root.childNodes.length > same) this.#root.lastChild.remove();
    this.#root.append(...blocks.slice(same).map((block) => block.type.build(block.lines, 0)));
    this.#shown = blocks;
    const settled = blocks.length - (done ? 0 : 1);
    while (this.#enriched < settled) enrich(this.#root.childNodes[this.#enriched++]);
  }

  /** A block that has got longer may keep its frame: the copy button under the pointer, thoughts that stand open. */
  #grow(at, block) {
    const before = this.#shown[at];
    const canGrow = before?.type.grow && before.type === block?.type && before.lines[0] === block.lines[0];
    if (canGrow) before.type.grow(this.#root.childNodes[at], block.lines);
    return canGrow;
  }
}

function* split(lines) {
  for (let at = 0; at < lines.length;) {
    if (!lines[at].trim()) {
      at++;
      continue;
    }
    const type = BLOCKS.find((block) => block.starts(lines, at));
    const end = type.end(lines, at);
    const own = lines.slice(at, end);
    yield { type, lines: own, source: own.join("\n") };
    at = end;
  }
}

function build(lines, depth) {
  if (depth > MAX_DEPTH) return [PARAGRAPH.build(lines, depth)];
  return [...split(lines)].map((block) => block.type.build(block.lines, depth));
}

const direction = (depth) => (depth === 0 ? "auto" : null);

/** The first line from `at` on that fails the test, or the end. */
function endWhere(lines, at, fails) {
  while (at < lines.length && !fails(lines[at], at)) at++;
  return at;
}

const nextLine = (lines, at) => at + 1;

// Every type: starts(lines, at); end(lines, at), exclusive; build(lines, depth) -> one node.  The first to start wins.

const CODE = {
  starts: (lines, at) => FENCE.test(lines[at]),
  end(lines, at) {
    const fence = FENCE.exec(lines[at])[2];
    const close = endWhere(lines, at + 1, (line) => closes(line, fence));
    return Math.min(close + 1, lines.length);
  },
  build: (lines) => codeFrame(FENCE.exec(lines[0])[3], codeText(lines)),
  grow: (node, lines) => (node.querySelector("code").textContent = codeText(lines)),
};

/** What some models write before they answer: folded away. */
const THOUGHTS = {
  starts: (lines, at) => lines[at].trimStart().startsWith("<think>"),
  end: (lines, at) => Math.min(endWhere(lines, at, (line) => line.includes("</think>")) + 1, lines.length),
  build(lines) {
    const box = h("div");
    const node = h("div", {}, h("details", { class: "thoughts" }, h("summary", {}, "Thoughts"), box), h("div"));
    inner.set(node, [new Markdown(box), new Markdown(node.lastChild)]);
    this.grow(node, lines);
    return node;
  },
  grow(node, lines) {
    const [thoughts, ...after] = lines.join("\n").replace("<think>", "").split("</think>");
    const [before, behind] = inner.get(node);
    before.update(thoughts);
    behind.update(after.join(""));
  },
};
const inner = new WeakMap();

const FORMULA = {
  starts: (lines, at) => displayEnd(lines, at) > at,
  end: displayEnd,
  build(lines) {
    const source = lines.join("\n").trim();
    return formula(source.slice(2, -2), true, source);
  },
};

/** Behind the line that ends a formula in lines of its own; `at` where there is none. */
function displayEnd(lines, at) {
  const close = DISPLAY[lines[at].trim().slice(0, 2)];
  if (!close) return at;
  for (let i = at; i < Math.min(lines.length, at + MAX_DISPLAY); i++) {
    const text = i === at ? lines[i].trim().slice(2) : lines[i].trim();
    if (text.endsWith(close)) return i + 1;
    if (text.includes(close)) return at; // more text behind it: a part of a paragraph
  }
  return at;
}

const HEADLINE = {
  starts: (lines, at) => HEADING.test(lines[at]),
  end: nextLine,
  build([line], depth) {
    const [, marks, text] = HEADING.exec(line);
    const level = Math.min(marks.length + 2, 6); // the page itself has h1 and h2
    return h(`h${level}`, { dir: direction(depth) }, inline(text.replace(/[ \t]{1,9}#{1,9}[ \t]*$/, "")));
  },
};

/** A line with a line under it. */
const TITLE = {
  starts: (lines, at) =>
    UNDERLINE.test(lines[at + 1] ?? "") &&
    !RULE.test(lines[at]) &&
    !ITEM.test(lines[at]) &&
    !QUOTE.test(lines[at]) &&
    !lines[at].includes("|"),
  end: (lines, at) => at + 2,
  build: ([line, rule], depth) =>
    h(rule.trim()[0] === "=" ? "h3" : "h4", { dir: direction(depth) }, inline(line.trim())),
};

const DIVIDER = { starts: (lines, at) => RULE.test(lines[at]), end: nextLine, build: () => h("hr") };

const QUOTATION = {
  starts: (lines, at) => QUOTE.test(lines[at]),
  end: (lines, at) => endWhere(lines, at, (line) => !QUOTE.test(line)),
  build: (lines, depth) =>
    h(
      "blockquote",
      { dir: direction(depth) },
      build(
        lines.map((line) => line.replace(QUOTE, "")),
        depth + 1,
      ),
    ),
};

const LIST = {
  starts: (lines, at) => ITEM.test(lines[at]) && !RULE.test(lines[at]),
  end: (lines, at) => listEnd(lines, at, (i) => interrupts(lines, i)),
  build(lines, depth) {
    const first = ITEM.exec(lines[0])[2];
    const start = isNumber(first) && parseInt(first) !== 1 ? parseInt(first) : null;
    return h(
      isNumber(first) ? "ol" : "ul",
      { start, dir: direction(depth) },
      items(lines).map((item) => h("li", {}, build(item, depth + 1))),
    );
  },
};

const TABLE = {
  starts: (lines, at) =>
    lines[at].includes("|") &&
    lines[at + 1]?.includes("-") &&
    lines[at + 1].includes("|") &&
    TABLE_RULE.test(lines[at + 1]),
  end: (lines, at) => endWhere(lines, at, (line) => !line.includes("|")),
  build(lines) {
    const [head, rule, ...rows] = lines.map(cells);
    const sides = rule.map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : null));
    const row = (tag, texts) =>
      h(
        "tr",
        {},
        head.map((_, i) => h(tag, { class: sides[i], dir: "auto" }, inline(texts[i] ?? ""))),
      );
    const table = h(
      "table",
      {},
      h("thead", {}, row("th", head)),
      h(
        "tbody",
        {},
        rows.map((texts) => row("td", texts)),
      ),
    );
    return h("div", { class: "table", tabindex: "0" }, table);
  },
};

const PARAGRAPH = {
  starts: () => true,
  end: (lines, at) => endWhere(lines, at + 1, (line, i) => !line.trim() || interrupts(lines, i)),
  build: (lines, depth) => h("p", { dir: direction(depth) }, inline(lines.map((line) => line.trim()).join("\n"))),
};

const BLOCKS = [CODE, THOUGHTS, FORMULA, HEADLINE, TITLE, DIVIDER, QUOTATION, LIST, TABLE, PARAGRAPH];

const interrupts = (lines, at) => BLOCKS.find((block) => block.starts(lines, at)) !== PARAGRAPH;

function closes(line, fence) {
  const text = line.trim();
  return text.length >= fence.length && text === fence[0].repeat(text.length);
}

/** The lines between the fences, less the indentation of the opening one. */
function codeText(lines) {
  const [, indent, fence] = FENCE.exec(lines[0]);
  const closed = lines.length > 1 && closes(lines.at(-1), fence);
  const strip = new RegExp(`^ {0,${indent.length}}`);
  return lines
    .slice(1, closed ? -1 : undefined)
    .map((line) => line.replace(strip, ""))
    .join("\n");
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
