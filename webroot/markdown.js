// Markdown of model output -> DOM nodes: the part of CommonMark and GitHub's tables that models write.
// Safe by construction: only createElement and text nodes, links only to http and https, images become links.
// Each outermost block takes its writing direction from its own first letters.
// Work is linear in the text (failed searches are remembered) and nesting is bounded.

import { copyButton, h } from "./dom.js";
import { inline } from "./inline.js";

const MAX_DEPTH = 8;
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(\S.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])([ \t]+)(?=\S)/;
const TABLE_RULE = /^[ |:\t-]+$/;

/** Shows a growing text in root.  Blocks that have not changed keep their nodes, and with them what is selected. */
export class Markdown {
  #root;
  #shown = []; // blocks, one node of root each

  constructor(root) {
    this.#root = root;
  }

  update(text) {
    const blocks = [...split(text.split(/\r?\n/))];
    let same = 0;
    while (same < blocks.length && this.#shown[same]?.source === blocks[same].source) same++;
    if (this.#grow(same, blocks[same])) same++;
    while (this.#root.childNodes.length > same) this.#root.lastChild.remove();
    this.#root.append(...blocks.slice(same).map((block) => block.type.build(block.lines, 0)));
    this.#shown = blocks;
  }

  /** Code that has got longer keeps its frame, with the copy button that may be under the pointer. */
  #grow(at, block) {
    const before = this.#shown[at];
    if (!before || before.type !== CODE || block?.type !== CODE || before.lines[0] !== block.lines[0]) return false;
    this.#root.childNodes[at].querySelector("code").textContent = codeText(block.lines);
    return true;
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
  build(lines) {
    const language = FENCE.exec(lines[0])[3];
    const code = h("code", {}, codeText(lines));
    const head = h(
      "div",
      { class: "code-head" },
      h("span", {}, language || "code"),
      copyButton("Copy code", () => code.textContent),
    );
    return h("div", { class: "code", dir: "ltr" }, head, h("pre", { tabindex: "0" }, code));
  },
};

const HEADLINE = {
  starts: (lines, at) => HEADING.test(lines[at]),
  end: nextLine,
  build([line], depth) {
    const [, marks, text] = HEADING.exec(line);
    const level = Math.min(marks.length + 2, 6); // the page itself has h1 and h2
    return h(`h${level}`, { dir: direction(depth) }, inline(text.replace(/[ \t]{1,9}#{1,9}[ \t]*$/, "")));
  },
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
  end: listEnd,
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

const BLOCKS = [CODE, HEADLINE, DIVIDER, QUOTATION, LIST, TABLE, PARAGRAPH];

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

const isNumber = (marker) => marker.length > 1;
const columns = (space) => space.replaceAll("\t", "    ").length;

/** A list goes on over further items of its kind, indented lines, and lines that merely continue a paragraph. */
function listEnd(lines, at) {
  const [, space, marker] = ITEM.exec(lines[at]);
  const base = columns(space);
  const leaves = (line, i) => {
    if (!line.trim()) return false;
    if (columns(/^[ \t]*/.exec(line)[0]) >= base + 2) return false;
    const item = ITEM.exec(line);
    if (item && !RULE.test(line)) return isNumber(item[2]) !== isNumber(marker);
    return !lines[i - 1].trim() || interrupts(lines, i);
  };
  let end = endWhere(lines, at + 1, leaves);
  while (!lines[end - 1].trim()) end--;
  return end;
}

/** The lines of each item, without marker and indentation. */
function items(lines) {
  const base = columns(ITEM.exec(lines[0])[1]);
  const found = [];
  let strip;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && columns(item[1]) < base + 2) {
      strip = new RegExp(`^(?:\t| {1,${item[2].length + item[3].length + columns(item[1])}})`);
      found.push([line.slice(item[0].length)]);
    } else found.at(-1).push(line.replace(strip, ""));
  }
  return found;
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
