// Markdown within a line: code, formulas, bold, italics, strike-through, links, escapes, line breaks -> DOM nodes and strings.

import { h } from "./dom.js";
import { formula } from "./rich.js";

const MAX_DEPTH = 8;
const LINK = /!?\[([^[\]\n]{1,500})\]\(\s?<?((?:[^\s<>()]|\([^\s<>()]*\)){1,2000})>?(?:\s"[^"\n]{0,500}")?\s?\)/y;
const ADDRESS = /https?:\/\/(?:[^\s<>"`*|\]()]|\([^\s<>()]*\)){1,2000}/y;
const BREAK = /<br ?\/?>/iy;
const ESCAPED = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;

// What each character may begin: (text, at, search) -> {node, end} or null.
const SPANS = {
  "`": code,
  "\\": escape,
  $: maths,
  "*": emphasis,
  _: emphasis,
  "~": emphasis,
  "[": link,
  "!": link,
  h: address,
  "<": (text, at) => match(BREAK, text, at) && { node: h("br"), end: BREAK.lastIndex },
  "\n": (text, at) => ({ node: h("br"), end: at + 1 }),
};

/** Nodes and strings for append(). */
export function inline(text, depth = 0) {
  const search = { depth, missing: new Set() }; // delimiters that do not come again: each is sought in vain only once
  const parts = [];
  let plain = 0;
  for (let at = 0; at < text.length;) {
    const span = SPANS[text[at]]?.(text, at, search);
    if (!span) {
      at++;
      continue;
    }
    parts.push(text.slice(plain, at), span.node);
    plain = at = span.end;
  }
  return [...parts, text.slice(plain)];
}

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function code(text, at, { missing }) {
  const ticks = /`+/.exec(text.slice(at, at + 100))[0];
  const from = at + ticks.length;
  const end = missing.has(ticks) ? -1 : runEnd(text, ticks, from);
  if (end < 0) {
    missing.add(ticks);
    return { node: ticks, end: from };
  }
  return {
    node: h("code", { dir: "auto" }, text.slice(from, end).replace(/^ (.*\S.*) $/s, "$1")),
    end: end + ticks.length,
  };
}

/** Where exactly these ticks stand, no more and no fewer. */
function runEnd(text, ticks, from) {
  for (let at = text.indexOf(ticks, from); at >= 0;) {
    let end = at + ticks.length;
    if (text[end] !== "`") return at;
    while (text[end] === "`") end++;
    at = text.indexOf(ticks, end);
  }
  return -1;
}

/** $x$ or $$x$$.  A dollar with a space inside of it, or a digit behind it, is money. */
function maths(text, at, { missing }) {
  const mark = text[at + 1] === "$" ? "$$" : "$";
  const from = at + mark.length;
  if (!/\S/.test(text[from] ?? "") || WORD.test(text[at - 1] ?? "") || missing.has(mark))
    return { node: mark, end: from };
  for (let end = text.indexOf(mark, from + 1); end >= 0; end = text.indexOf(mark, end + mark.length)) {
    const isEnd = /[^\s\\]/.test(text[end - 1]) && !/\d/.test(text[end + mark.length] ?? "");
    if (isEnd) return set(text, at, mark.length, end + mark.length, mark === "$$");
  }
  missing.add(mark);
  return { node: mark, end: from };
}

const set = (text, at, size, end, display) => ({
  node: formula(text.slice(at + size, end - size), display, text.slice(at, end)),
  end,
});

/** \\( and \\[ open a formula where it is closed as well; before other signs a backslash takes their meaning away. */
function escape(text, at, { missing }) {
  const close = { "(": "\\)", "[": "\\]" }[text[at + 1]];
  if (close && !missing.has(close)) {
    const end = text.indexOf(close, at + 2);
    if (end > 0) return set(text, at, 2, end + 2, close === "\\]");
    missing.add(close);
  }
  return ESCAPED.test(text[at + 1] ?? "") ? { node: text[at + 1], end: at + 2 } : null;
}

function emphasis(text, at, { depth, missing }) {
  const sign = text[at];
  const mark = text[at + 1] === sign ? sign + sign : sign;
  const from = at + mark.length;
  const opens = /\S/.test(text[from] ?? "") && !(sign === "_" && WORD.test(text[at - 1] ?? "")) && mark !== "~";
  if (!opens || depth >= MAX_DEPTH || missing.has(mark)) return { node: mark, end: from };
  const end = closer(text, mark, from + 1);
  if (end < 0) {
    missing.add(mark);
    return { node: mark, end: from };
  }
  const tag = { "**": "strong", __: "strong", "~~": "del" }[mark] ?? "em";
  return { node: h(tag, {}, inline(text.slice(from, end), depth + 1)), end: end + mark.length };
}

/** The next mark that can end an emphasis: after a non-space, not a part of a longer run unless at its end. */
function closer(text, mark, from) {
  const sign = mark[0];
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at)) {
    let end = at;
    while (text[end] === sign) end++;
    const fits = mark.length === 2 ? end - at >= 2 : (end - at) % 2 === 1;
    const inWord = sign === "_" && WORD.test(text[end] ?? "");
    if (fits && !inWord && /\S/.test(text[at - 1])) return end - mark.length;
    at = end;
  }
  return -1;
}

function link(text, at) {
  const found = match(LINK, text, at);
  if (!found || !isWeb(found[2])) return null;
  return { node: anchor(found[2], found[1]), end: LINK.lastIndex };
}

function address(text, at) {
  if (WORD.test(text[at - 1] ?? "")) return null;
  const url = match(ADDRESS, text, at)?.[0].replace(/[.,;:!?'"]+$/, "");
  return url && isWeb(url) ? { node: anchor(url, url), end: at + url.length } : null;
}

function anchor(url, text) {
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, text);
}

function isWeb(url) {
  return /^https?:\/\//i.test(url) && URL.canParse(url);
}
