// Markdown as tokens: marked's lexer, with formulas and thoughts added, HTML left out, and bounds on what a text can cost.

import { Lexer, Tokenizer } from "./vendor/markdown.js";

const MAX_BLOCK = 20_000; // characters; a block that is longer goes on in a new one, a line that is longer is plain text
const MAX_DEPTH = 8; // of quotes and lists in each other, and of emphasis
const MAX_HEADING = 1000; // characters of one that is underlined
const MAX_TEXT = 3000; // characters; a longer text goes through the lexer in parts
const MAX_WORK = 1e6; // characters times signs of a part: from each sign the lexer may look to the end
const SIGNS = /[*_~[!<$\\]/g;
const BREAK = /^<br ?\/?>/i;
const WEB = /^(?:https?:\/\/|mailto:)/i;
const WORD_END = /[\p{L}\p{N}]$/u;
const NEXT = /\s*\S.*\n.*\n/y; // the two lines that say what comes next, even a table
const FORMULA =
  /^(?:(\$\$?)(?=[^\s$])((?:\\[^]|[^\\$]){1,2000})(?<!\s)\1(?![\d$])|\\\(([^]{1,2000}?)\\\)|\\\[([^]{1,2000}?)\\\])/;
const CLOSING = { $$: "$$", "\\[": "\\]" };

/** Tags are text, but for line breaks; a definition of links is text as well: it may come long after they are shown. */
class Rules extends Tokenizer {
  html() {}

  def() {}

  /** A heading of such a length is none; the search for its underline starts anew in each line. */
  lheading(src) {
    const near = src.slice(0, MAX_HEADING);
    const whole = near.length < src.length ? near.lastIndexOf("\n") + 1 : near.length;
    return super.lheading(near.slice(0, interruption(near) ?? whole));
  }

  tag(src) {
    const found = BREAK.exec(src);
    return found ? { type: "br", raw: found[0] } : undefined;
  }
}

const plain = (raw) => ({ type: "text", raw, text: raw });
const paragraph = (raw) => ({ type: "paragraph", raw, tokens: [plain(raw)] });

/** What is nested too deep, or has too many signs for its length, is plain text. */
class BoundedLexer extends Lexer {
  #depth = 0;

  blockTokens(src, tokens = [], isClipped = false) {
    if (this.#depth < MAX_DEPTH) return this.#within(() => super.blockTokens(src, tokens, isClipped));
    tokens.push(paragraph(src));
    return tokens;
  }

  inlineTokens(src, tokens = []) {
    if (src.length > MAX_TEXT) {
      const end = src.lastIndexOf(" ", MAX_TEXT - 1) + 1 || MAX_TEXT;
      return this.inlineTokens(src.slice(end), this.inlineTokens(src.slice(0, end), tokens));
    }
    const work = src.length * (src.match(SIGNS)?.length ?? 0);
    if (this.#depth < MAX_DEPTH && work <= MAX_WORK) return this.#within(() => super.inlineTokens(src, tokens));
    tokens.push(plain(src));
    return tokens;
  }

  #within(lex) {
    this.#depth++;
    try {
      return lex();
    } finally {
      this.#depth--;
    }
  }
}

/** What some models write before they answer, of any length. */
function thoughts(src) {
  const opening = /^ {0,3}<think>/.exec(src)?.[0];
  if (!opening) return undefined;
  const close = src.indexOf("</think>");
  const text = src.slice(opening.length, close < 0 ? undefined : close).replaceAll("<think>", "");
  return { type: "thoughts", raw: close < 0 ? src : src.slice(0, close + "</think>".length), text };
}

/** A formula in lines of its own.  One that is not closed there is a paragraph up to the next empty line, so that a
 *  list which seems to begin within it does not end it before the rest has come. */
function display(src) {
  const [opening, mark] = /^ {0,3}(\$\$|\\\[)/.exec(src) ?? [];
  if (!mark) return undefined;
  const empty = src.search(/\n[ \t]*(?:\n|$)/);
  const raw = empty < 0 ? src : src.slice(0, empty + 1);
  const close = raw.indexOf(CLOSING[mark], opening.length);
  const end = close < 0 ? -1 : raw.indexOf("\n", close);
  const behind = raw.slice(close + mark.length, end < 0 ? undefined : end).trim();
  const tex = raw.slice(opening.length, close);
  if (close >= 0 && !behind && tex.trim())
    return { type: "math", raw: end < 0 ? raw : raw.slice(0, end + 1), tex, display: true };
  if (close >= 0 && !tex.includes("\n")) return undefined;
  return { type: "unclosed", raw, tokens: this.lexer.inline(raw.trim()) };
}

/** A dollar with a space inside of it, or a letter or digit outside, is money or a name. */
function formula(src, before) {
  const found = FORMULA.exec(src);
  if (!found || (found[1] && WORD_END.test(before.at(-1)?.raw ?? ""))) return undefined;
  const [raw, dollars, between, round, square] = found;
  return { type: "math", raw, tex: between ?? round ?? square, display: dollars === "$$" || square !== undefined };
}

/** Where in a paragraph the line begins that such a block interrupts it with. */
function interruption(src) {
  const found = /\n(?: {0,3}(\$\$|\\\[|<think>)|[ \t]*\n)/.exec(src);
  return found?.[1] ? found.index + 1 : undefined;
}

/** Only a paragraph asks for it, and there is none in an item of a list, whose lines are looked at one by one. */
function beginning(src) {
  return this.lexer.state.top ? interruption(src) : undefined;
}

const OPTIONS = {
  gfm: true,
  breaks: true,
  tokenizer: new Rules(),
  extensions: {
    block: [thoughts, display],
    inline: [formula],
    startBlock: [beginning],
    startInline: [(src) => src.search(/\$|\\[([]/)],
  },
};

const inliner = new BoundedLexer(OPTIONS);

/** The tokens within a token's text, found when first asked for: of what is shown already nobody asks. */
export function within({ tokens }) {
  const { unread } = tokens;
  if (unread === undefined) return tokens;
  delete tokens.unread;
  return inliner.inlineTokens(unread, tokens);
}

export const isWeb = (url) => WEB.test(url) && URL.canParse(url);

function lex(src) {
  const lexer = new BoundedLexer(OPTIONS);
  const tokens = lexer.blockTokens(src);
  for (const { src, tokens } of lexer.inlineQueue) tokens.unread = src; // a WeakMap would cost the collector 20 ms
  return tokens;
}

const { tokenizer } = OPTIONS;

function longLine(src) {
  const end = (src.indexOf("\n") + 1 || src.length + 1) - 1;
  return end > MAX_BLOCK ? paragraph(src.slice(0, end)) : undefined;
}

const firstPart = (src) => (src.length > MAX_BLOCK ? src.slice(0, src.lastIndexOf("\n", MAX_BLOCK) + 1) : src);

/** The outermost tokens of a text: {token, end, isSettled}, settled where no text that may follow can change it.
 *  Code, thoughts and long lines are found whole.  All else goes through the lexer in parts, and the last block of a
 *  part that is not the end begins the next one. */
export function* blocks(text) {
  for (let at = 0; at < text.length;) {
    const rest = text.slice(at);
    const whole = tokenizer.space(rest) ?? thoughts(rest) ?? tokenizer.fences(rest) ?? longLine(rest);
    const src = whole ? whole.raw : firstPart(rest);
    const tokens = whole ? [whole] : lex(src);
    const last = tokens.findLastIndex(({ type }) => type !== "space");
    for (const token of src.length < rest.length && last > 0 ? tokens.slice(0, last) : tokens) {
      at += token.raw.length;
      NEXT.lastIndex = at;
      if (token.type !== "space") yield { token, end: at, isSettled: NEXT.test(text) };
    }
  }
}
