// Texts and regular expressions as GBNF, for what stands between the quotes of a JSON string.

/** A GBNF literal that matches exactly this text. */
export function literal(text) {
  return `"${text.replace(/[\\"\n\r]/g, (c) => ({ "\n": "\\n", "\r": "\\r" })[c] ?? `\\${c}`)}"`;
}

/** What JSON writes for a character within a string. */
const escaped = (character) => JSON.stringify(character).slice(1, -1);

const LAST = 0x10ffff;
const UNSAFE = [[0, 0x1f], [0x22, 0x22], [0x5c, 0x5c], [0x7f, 0x7f], [0xd800, 0xdfff]]; // not in a string as they are
const SHORT_ESCAPES = [...'"\\\b\f\n\r\t'];
const SETS = {
  d: [[0x30, 0x39]],
  w: [[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]],
  s: [[9, 13], [0x20, 0x20]], // what all dialects agree on
};
const ALL_SPACES = [...SETS.s, [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x2028, 0x2029], [0x202f, 0x202f],
  [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff], [0x1c, 0x1f], [0x85, 0x85]];
const CONTROLS = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/** One character that is not among these, in a GBNF class; none of those that a JSON string escapes either. */
export function otherThan(characters) {
  return characterClass(complement(characters.map((c) => [c.codePointAt(0), c.codePointAt(0)])));
}

/**
 * A regular expression as the GBNF of a string's contents.  any: GBNF for one character of a string.  Throws by
 * fail(reason) for what is more than literals, classes, groups, alternatives, repetition and anchors at the ends.
 */
export function patternRule(source, any, fail) {
  return new Pattern(source, any, fail).whole();
}

class Pattern {
  constructor(source, any, fail) {
    this._source = [...source];
    this._any = any;
    this._fail = (reason) => fail(`${reason} in the pattern ${JSON.stringify(source)}`);
    this._at = 0;
  }

  whole() {
    const alternatives = [];
    do {
      const start = this._take("^") ? "" : `${this._any}*`;
      const text = this._sequence();
      const end = this._take("$") ? "" : `${this._any}*`;
      alternatives.push([start, text, end].filter(Boolean).join(" ") || '""');
    } while (this._take("|"));
    if (this._at < this._source.length) this._fail(`"${this._source[this._at]}" where it is not expected`);
    return alternatives.join(" | ");
  }

  _take(character) {
    if (this._source[this._at] !== character) return false;
    this._at++;
    return true;
  }

  _group() {
    const alternatives = [];
    do alternatives.push(this._sequence() || '""');
    while (this._take("|"));
    if (!this._take(")")) this._fail("an anchor within a group, or a group without an end");
    return `(${alternatives.join(" | ")})`;
  }

  _sequence() {
    const parts = [];
    let plain = ""; // characters that follow one another become one literal
    const flush = () => plain && parts.push(literal(plain)) && (plain = "");
    while (this._at < this._source.length && !"|)$".includes(this._source[this._at])) {
      const atom = this._atom();
      const times = this._times();
      if (typeof atom === "string" && !times) plain += atom;
      else flush(), parts.push((typeof atom === "string" ? `(${literal(atom)})` : atom.rule) + times);
    }
    flush();
    return parts.join(" ");
  }

  /** A text as JSON writes it, or { rule }. */
  _atom() {
    const character = this._source[this._at++];
    if (character === "(") {
      const kind = /^\?(:|<[A-Za-z_]\w*>)?/.exec(this._source.slice(this._at, this._at + 64).join(""));
      if (kind && !kind[1]) this._fail("looking ahead or back");
      this._at += kind?.[0].length ?? 0;
      return { rule: this._group() };
    }
    if (character === "[") return { rule: this._class() };
    if (character === ".") return { rule: this._one(complement([[10, 10], [13, 13], [0x2028, 0x2029]])) };
    if ("^*+?".includes(character)) this._fail(`"${character}" where it is not expected`);
    if (character !== "\\") return escaped(character);
    const found = this._escape();
    return typeof found === "number" ? escaped(String.fromCodePoint(found)) : { rule: this._one(found) };
  }

  _times() {
    const rest = this._source.slice(this._at, this._at + 24).join("");
    const times = /^(?:[*+?]|\{\d+(?:,\d*)?\})/.exec(rest)?.[0] ?? "";
    this._at += times.length;
    if (times) this._take("?"); // lazy or greedy: the same texts
    return times;
  }

  /** What follows a backslash: a code point, or the ranges of a set. */
  _escape() {
    const name = this._source[this._at++] ?? this._fail("a backslash at the end");
    const set = SETS[name.toLowerCase()];
    if (set) return name === "S" ? complement(ALL_SPACES) : name in SETS ? set : complement(set);
    if (name in CONTROLS) return CONTROLS[name];
    const digits = { x: 2, u: 4 }[name];
    if (!digits && /[\p{L}\p{N}]/u.test(name)) this._fail(`\\${name}`);
    if (!digits) return name.codePointAt(0);
    const hex = this._source.slice(this._at, this._at + digits).join("");
    if (!/^[0-9a-f]+$/i.test(hex) || hex.length < digits) this._fail(`\\${name} without its digits`);
    this._at += digits;
    return parseInt(hex, 16);
  }

  _class() {
    const negated = this._take("^");
    const ranges = [];
    while (!this._take("]")) {
      const low = this._member();
      if (typeof low !== "number") ranges.push(...low);
      else if (this._source[this._at] !== "-" || this._source[this._at + 1] === "]") ranges.push([low, low]);
      else {
        this._at++;
        const high = this._member();
        if (typeof high !== "number" || high < low) this._fail("a range that is none");
        ranges.push([low, high]);
      }
    }
    return this._one(negated ? complement(ranges) : ranges);
  }

  _member() {
    const character = this._source[this._at++] ?? this._fail("a class without an end");
    if (character !== "\\") return character.codePointAt(0);
    if (this._take("b")) return 8;
    return this._escape();
  }

  /** One of these characters, as it stands in JSON. */
  _one(ranges) {
    const safe = characterClass(ranges);
    const has = (c) => ranges.some(([low, high]) => low <= c.codePointAt(0) && c.codePointAt(0) <= high);
    const rules = [...(safe ? [safe] : []), ...SHORT_ESCAPES.filter(has).map((c) => literal(escaped(c)))];
    if (!rules.length) this._fail("a class without a character");
    return rules.length === 1 ? rules[0] : `(${rules.join(" | ")})`;
  }
}

/** The ranges that are left of all characters, in order. */
function complement(ranges) {
  const left = [];
  let next = 0;
  for (const [low, high] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (low > next) left.push([next, low - 1]);
    next = Math.max(next, high + 1);
  }
  return next > LAST ? left : [...left, [next, LAST]];
}

/** A GBNF class of those that stand in a string as they are, or "". */
function characterClass(ranges) {
  const safe = complement([...complement(ranges), ...UNSAFE]);
  const text = safe.map(([low, high]) => codePoint(low) + (low === high ? "" : `-${codePoint(high)}`)).join("");
  return text && `[${text}]`;
}

function codePoint(point) {
  const character = String.fromCodePoint(point);
  if (/[A-Za-z0-9]/.test(character)) return character;
  const hex = point.toString(16).toUpperCase();
  if (point < 0x80) return `\\x${hex.padStart(2, "0")}`;
  return point < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
