// JSON without a schema: the rules that all grammars share, and which of the others each of them needs.

const HEX = "[0-9a-fA-F]";
const INTEGER = '"-"? ("0" | [1-9] [0-9]*)';
export const SHARED = {
  boolean: '("true" | "false") space',
  null: '"null" space',
  integer: `${INTEGER} space`,
  number: `${INTEGER} ("." [0-9]+)? ([eE] [-+]? [0-9]+)? space`,
  char: String.raw`[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-ce-fA-CE-F] ${HEX}{3} | [dD] [0-7] ${HEX}{2}))`,
  string: String.raw`"\"" char* "\"" space`,
  value: "object | array | string | number | boolean | null",
  object: String.raw`"{" space (string ":" space value ("," space string ":" space value)*)? "}" space`,
  array: '"[" space (value ("," space value)*)? "]" space',
};
export const NEEDS = {
  string: ["char"],
  object: ["value"],
  array: ["value"],
  value: ["object", "array", "string", "number", "boolean", "null"],
};
