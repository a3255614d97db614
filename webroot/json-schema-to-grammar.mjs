// JSON Schema to GBNF, for the field `grammar` of a request.
//
//     import { SchemaConverter } from "/json-schema-to-grammar.mjs";
//     const converter = new SchemaConverter({ name: 0, age: 1 }); // the order of properties; the rest by name
//     converter.visit(schema, "");
//     const grammar = converter.formatGrammar();
//
// Every text that the grammar allows is a document that fits the schema; `oneOf` is read as `anyOf`.  Not all spellings
// of such a document are allowed: properties have one order, numbers with bounds no exponent, between tokens there is a
// blank at most.  An object with `properties` has no others unless `additionalProperties` says so; a schema without
// `type` means the types that its keywords are about.  What cannot be kept to is an Error that begins with its pointer.

import { FORMATS } from "./grammar/formats.mjs";
import { NEEDS, SHARED } from "./grammar/json.mjs";
import { isAnnotation, merged } from "./grammar/merge.mjs";
import { integerRule, multiplesRule, numberRule } from "./grammar/range.mjs";
import { literal, otherThan, patternRule } from "./grammar/text.mjs";

const MAX_DEPTH = 200; // of schemas within schemas
const TYPES = [...NEEDS.value, "integer"];
const RESERVED = new Set(["space", "root", ...Object.keys(SHARED)]);

const OF_TYPE = {
  object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
};
OF_TYPE.integer = OF_TYPE.number;
const KEPT = new Set(["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", ...Object.values(OF_TYPE).flat()]);
// Keywords of JSON Schema that are not kept to.  Names that no version of it has are annotations.
const NOT_KEPT = new Set(
  `not if then else contains minContains maxContains patternProperties propertyNames dependencies dependentRequired
   dependentSchemas unevaluatedItems unevaluatedProperties $dynamicRef $recursiveRef`.split(/\s+/),
);

/** The JSON pointer of a part. */
const within = (pointer, ...parts) =>
  [pointer, ...parts.map((part) => String(part).replace(/~/g, "~0").replace(/\//g, "~1"))].join("/");

/** The name of a part's rule. */
const named = (name, part) => (name ? `${name}-${part}` : String(part));

export class SchemaConverter {
  /** propOrder: from names of properties to their places. */
  constructor(propOrder = {}) {
    this._order = propOrder;
    this._rules = new Map([["space", '" "?']]);
    this._refs = new Map(); // from $ref to the name of its rule
    this._root = null;
    this._depth = 0;
  }

  /** Adds the rules of a schema; returns the name of the one for it.  name "": the grammar's root. */
  visit(schema, name) {
    this._root ??= schema;
    if (name && name !== "root") return this._rule(schema, name, "#");
    this._rules.set("root", this._body(schema, "", "#"));
    return "root";
  }

  /** One rule a line, "space" first. */
  formatGrammar() {
    return [...this._rules].map(([name, body]) => `${name} ::= ${body}\n`).join("");
  }

  /** Adds `name ::= body` and returns the name, with a number where it is another rule's already. */
  _add(name, body) {
    const clean = name.replace(/[^0-9A-Za-z-]+/g, "-") || "-";
    let free = clean;
    for (let n = 0; RESERVED.has(free) || (this._rules.get(free) ?? body) !== body; n++) free = `${clean}${n}`;
    this._rules.set(free, body);
    return free;
  }

  /** A rule that all share, with those that it needs. */
  _shared(type) {
    if (this._rules.has(type)) return type;
    this._rules.set(type, SHARED[type]);
    for (const needed of NEEDS[type] ?? []) this._shared(needed);
    return type;
  }

  /** The name of a rule for a schema. */
  _rule(schema, name, pointer) {
    const body = this._body(schema, name, pointer);
    return this._rules.has(body) ? body : this._add(name, body);
  }

  /** GBNF for a schema; the name of another rule where that is all. */
  _body(schema, name, pointer) {
    if (++this._depth > MAX_DEPTH) throw new Error(`${pointer}: schemas within schemas, or references, go too deep`);
    try {
      if (schema === true) return this._shared("value");
      if (schema === null || typeof schema !== "object" || Array.isArray(schema)) this._unknown(schema, pointer);
      if (isBareRef(schema)) return this._reference(schema.$ref, pointer);
      return this._alternatives(this._flat(schema, pointer), name, pointer);
    } finally {
      this._depth--;
    }
  }

  _unknown(schema, pointer) {
    throw new Error(`${pointer}: Unrecognized schema: ${JSON.stringify(schema)}`);
  }

  /** Of what a schema can be, the first that it is. */
  _alternatives(schema, name, pointer) {
    const { anyOf, oneOf, ...rest } = schema;
    const keyword = oneOf ? "oneOf" : "anyOf";
    const fail = (reason) => fails(pointer, reason);
    if (anyOf && oneOf) fail("anyOf and oneOf in one schema are not supported");
    if (oneOf ?? anyOf) {
      const isAlone = Object.keys(rest).every((key) => isAnnotation(key) || !KEPT.has(key));
      const one = (part, i) =>
        this._rule(isAlone ? part : { allOf: [rest, part] }, named(name, i), within(pointer, keyword, i));
      return (oneOf ?? anyOf).map(one).join(" | ") || fails(within(pointer, keyword), "is empty");
    }
    if ("const" in schema) return this._literals([schema.const], schema, pointer, "const");
    if (schema.enum) return this._literals(schema.enum, schema, pointer, "enum");
    const types = this._types(schema, pointer);
    if (types.length === 1) return this._typed(types[0], schema, name, pointer);
    return types.map((type) => this._rule({ ...schema, type }, named(name, type), pointer)).join(" | ");
  }

  _types(schema, pointer) {
    const about = (type) => type !== "integer" && OF_TYPE[type]?.some((keyword) => keyword in schema);
    const types = [schema.type ?? TYPES.filter(about)].flat();
    if (types.some((type) => !TYPES.includes(type))) this._unknown(schema, pointer);
    if (!types.length && schema.type) fails(within(pointer, "type"), "nothing fits");
    if (!types.length) return ["value"];
    return types.includes("number") ? types.filter((type) => type !== "integer") : types;
  }

  _typed(type, schema, name, pointer) {
    if (!OF_TYPE[type]?.some((keyword) => keyword in schema)) return name ? this._shared(type) : this._rootBody(type);
    if (type === "object") return this._object(schema, name, pointer);
    if (type === "array") return this._array(schema, name, pointer);
    return type === "string" ? this._string(schema, pointer) : this._number(schema, type, pointer);
  }

  /** At the root a type's rule is not shared but called root. */
  _rootBody(type) {
    for (const needed of NEEDS[type] ?? []) this._shared(needed);
    return SHARED[type];
  }

  /** A schema without $ref beside other keywords and without allOf. */
  _flat(schema, pointer) {
    for (const keyword of Object.keys(schema))
      if (NOT_KEPT.has(keyword)) fails(within(pointer, keyword), "is not supported");
    const { allOf = [], $ref, ...rest } = schema;
    const parts = allOf.map((part, i) => this._resolved(part, within(pointer, "allOf", i)));
    if ($ref !== undefined) parts.push(this._resolved({ $ref }, pointer));
    const fail = (keyword) => fails(within(pointer, keyword), "cannot be merged with another schema");
    return parts.reduce((a, b) => merged(a, b, fail), rest);
  }

  _resolved(schema, pointer) {
    if (++this._depth > MAX_DEPTH) throw new Error(`${pointer}: references go too deep`);
    try {
      if (schema === true) return {};
      if (schema === null || typeof schema !== "object") this._unknown(schema, pointer);
      if (!isBareRef(schema)) return this._flat(schema, pointer);
      return this._resolved(this._target(schema.$ref, pointer), schema.$ref);
    } finally {
      this._depth--;
    }
  }

  /** The name of the rule for what a $ref names: one rule however often, and from within itself. */
  _reference($ref, pointer) {
    const known = this._refs.get($ref);
    if (known) return known;
    const target = this._target($ref, pointer);
    const name = this._add($ref === "#" ? "document" : $ref.split("/").at(-1), `$ref ${$ref}`);
    this._refs.set($ref, name);
    const body = this._body(target, name, $ref);
    if (body === name) fails(within(pointer, "$ref"), "refers to itself");
    this._rules.set(name, body);
    return name;
  }

  _target($ref, pointer) {
    const fail = (reason) => fails(within(pointer, "$ref"), reason);
    if (typeof $ref !== "string" || !/^#(\/|$)/.test($ref)) fail(`${JSON.stringify($ref)} is not within this schema`);
    let target = this._root;
    for (const part of $ref.split("/").slice(1)) {
      const key = decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~");
      if (target === null || typeof target !== "object" || !Object.hasOwn(target, key)) fail(`nothing is at ${$ref}`);
      target = target[key];
    }
    return target;
  }

  _literals(values, schema, pointer, keyword) {
    const beside = Object.keys(schema).find((key) => KEPT.has(key) && key !== keyword && key !== "type");
    if (beside) fails(within(pointer, beside), `beside ${keyword} is not supported`);
    const types = schema.type === undefined ? TYPES : [schema.type].flat();
    const fitting = values.filter((value) => types.some((type) => isOf(type, value)));
    if (!fitting.length) fails(within(pointer, keyword), "nothing fits");
    return `(${fitting.map((value) => literal(JSON.stringify(value))).join(" | ")}) space`;
  }

  _string(schema, pointer) {
    const { minLength = 0, maxLength, pattern, format } = schema;
    const char = this._shared("char");
    const quoted = (rule) => String.raw`"\"" (${rule}) "\"" space`;
    if (pattern === undefined && format === undefined) {
      return quoted(`${char}{${minLength},${count(minLength, maxLength, within(pointer, "maxLength"))}}`);
    }
    const keyword = pattern === undefined ? "format" : "pattern";
    const beside = ["minLength", "maxLength", "format"].find((key) => key in schema && key !== keyword);
    if (beside) fails(within(pointer, beside), `beside ${keyword} is not supported`);
    if (keyword === "format" && !Object.hasOwn(FORMATS, format))
      fails(within(pointer, keyword), `${JSON.stringify(format)} is not supported`);
    const source = pattern ?? `^(${FORMATS[format]})$`;
    return quoted(patternRule(source, char, (reason) => fails(within(pointer, keyword), `${reason} is not supported`)));
  }

  _number(schema, type, pointer) {
    const fail = (reason) => fails(pointer, `${reason} is not supported`);
    for (const keyword of OF_TYPE.number)
      if (keyword in schema && !Number.isFinite(schema[keyword])) fails(within(pointer, keyword), "must be a number");
    const low = bound(schema.minimum, schema.exclusiveMinimum, Math.max);
    const high = bound(schema.maximum, schema.exclusiveMaximum, Math.min);
    const step = schema.multipleOf;
    const isWhole = type === "integer";
    const isStepped = step !== undefined && !(isWhole && step === 1);
    const rule = isStepped
      ? multiplesRule(step, low, high, isWhole, fail)
      : isWhole ? integerRule(low, high) : numberRule(low, high, fail);
    return rule ? `(${rule}) space` : fails(pointer, "no number lies within the bounds");
  }

  _array(schema, name, pointer) {
    const { minItems = 0, uniqueItems } = schema;
    if (uniqueItems) fails(within(pointer, "uniqueItems"), "is not supported");
    const isOld = Array.isArray(schema.items); // as in drafts before 2020-12
    const [firstKeyword, keyword] = isOld ? ["items", "additionalItems"] : ["prefixItems", "items"];
    const first = schema[firstKeyword] ?? [];
    const others = schema[keyword];
    const most = others === false ? Math.min(first.length, schema.maxItems ?? Infinity) : schema.maxItems;
    const limit = count(minItems, most, within(pointer, "maxItems"));
    const items = first.map((item, i) => this._rule(item, named(name, i), within(pointer, firstKeyword, i)));
    const n = limit === "" ? items.length : Math.min(items.length, limit);
    const isClosed = others === false || limit === n;
    const other = isClosed ? null : this._rule(others ?? true, named(name, "item"), within(pointer, keyword));
    // From the last item to the first: what may stand behind item i, and whether it must.
    let rest = other ? repeated(`"," space ${other}`, minItems - n, limit === "" ? "" : limit - n) : "";
    if (n === 0 && other) rest = list(other, minItems, limit);
    for (let i = n - 1; i >= 0; i--) {
      const item = `${i ? '"," space ' : ""}${[items[i], rest].filter(Boolean).join(" ")}`;
      rest = i < minItems ? item : `(${item})?`;
    }
    return ['"[" space', rest, '"]" space'].filter(Boolean).join(" ");
  }

  _object(schema, name, pointer) {
    const { properties = {}, required = [], minProperties = 0, maxProperties = Infinity } = schema;
    const others = schema.additionalProperties ?? !("properties" in schema);
    // Names that must be there, but have no schema of their own, have that of all others.
    const undeclared = required.filter((key) => !Object.hasOwn(properties, key));
    const added = undeclared.map((key) => [key, schema.additionalProperties ?? true]);
    const all = { ...properties, ...Object.fromEntries(added) };
    const needed = new Set(required);
    for (const key of needed)
      if (all[key] === false) fails(within(pointer, "required"), `${JSON.stringify(key)} cannot be there`);
    const names = Object.keys(all).filter((key) => all[key] !== false).sort((a, b) => this._compare(a, b));
    const placeOf = (key) => (Object.hasOwn(properties, key) ? within(pointer, "properties", key) : pointer);
    const members = names.map((key) => ({
      needed: needed.has(key),
      rule: this._member(literal(JSON.stringify(key)), all[key], named(name, key), placeOf(key)),
    }));
    let other = null;
    if (others !== false && maxProperties > 0) {
      const key = this._otherName(Object.keys(all), name);
      other = this._member(key, others, named(name, "other"), within(pointer, "additionalProperties"));
    }
    let inside;
    if (names.length) {
      if (minProperties > needed.size) fails(within(pointer, "minProperties"), "beside properties is not supported");
      if (maxProperties < (other ? Infinity : names.length))
        fails(within(pointer, "maxProperties"), "beside properties is not supported");
      inside = this._members(members, other, name);
    } else {
      const limit = count(minProperties, other ? maxProperties : 0, within(pointer, "maxProperties"));
      if (minProperties > 1) fails(within(pointer, "minProperties"), "more than 1 is not supported");
      inside = other && list(other, minProperties, limit);
    }
    return ['"{" space', inside, '"}" space'].filter(Boolean).join(" ");
  }

  /** `"name" : value` as a rule; key: GBNF of the name, blanks behind it aside. */
  _member(key, schema, name, pointer) {
    const value = this._rule(schema, name, pointer);
    return this._add(`${name}-kv`, `${key} space ":" space ${value}`);
  }

  /**
   * Members in their order, some of which may be left out.  What can follow once there is one is a chain of rules, so
   * that the grammar grows with their number only.
   */
  _members(members, other, name) {
    const behind = [other ? `("," space ${other})*` : ""]; // behind[i]: what may follow member i, last one first
    for (const { needed, rule } of members.slice(1).reverse()) {
      const body = [needed ? `"," space ${rule}` : `("," space ${rule})?`, behind[0]].filter(Boolean).join(" ");
      behind.unshift(members.every((member) => member.needed) ? body : this._add(named(name, "rest"), body));
    }
    const firstNeeded = members.findIndex((member) => member.needed);
    const starts = firstNeeded < 0 ? members : members.slice(0, firstNeeded + 1);
    const begun = starts.map(({ rule }, i) => [rule, behind[i]].filter(Boolean).join(" "));
    if (firstNeeded < 0 && other) begun.push(list(other, 1, ""));
    if (begun.length === 1 && firstNeeded >= 0) return begun[0];
    return `(${begun.join(" | ")})${firstNeeded < 0 ? "?" : ""}`;
  }

  /** A string that is none of these names, hence without escapes: their letters as a tree, and each way to leave it. */
  _otherName(names, name) {
    if (!names.length) return String.raw`"\"" ${this._shared("char")}* "\""`;
    const tree = new Map();
    for (const one of names.filter((each) => !/["\\\x00-\x1f\x7f]/.test(each))) {
      let node = tree;
      for (const letter of [...one, ""]) node = node.get(letter) ?? node.set(letter, new Map()).get(letter);
    }
    const any = this._add("plain", otherThan([]));
    const leave = (node) => {
      const letters = [...node.keys()].filter(Boolean);
      const ways = letters.map((letter) => `${literal(letter)} ${leave(node.get(letter))}`);
      ways.push(`${otherThan(letters)} ${any}*`);
      return `(${ways.join(" | ")})${node.has("") ? "" : "?"}`;
    };
    return this._add(named(name, "name"), String.raw`"\"" ${leave(tree)} "\""`);
  }

  _compare(a, b) {
    const place = (name) => (Object.hasOwn(this._order, name) ? Number(this._order[name]) : Infinity);
    return place(a) === place(b) ? a.localeCompare(b) : place(a) - place(b);
  }
}

function fails(pointer, reason) {
  throw new Error(`${pointer}: ${reason}`);
}

/** Nothing but a $ref, annotations aside. */
function isBareRef(schema) {
  return "$ref" in schema && !Object.keys(schema).some((key) => key !== "$ref" && (KEPT.has(key) || NOT_KEPT.has(key)));
}

function isOf(type, value) {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  return type === "object" ? typeof value === type && value !== null && !Array.isArray(value) : typeof value === type;
}

/** The narrower of an inclusive and an exclusive bound; max is the function that says which that is. */
function bound(inclusive, exclusive, narrower) {
  if (inclusive === undefined && exclusive === undefined) return null;
  if (inclusive === undefined || (exclusive !== undefined && narrower(inclusive, exclusive) === exclusive))
    return { value: exclusive, exclusive: true };
  return { value: inclusive, exclusive: false };
}

/** The upper number of a repetition: "" for none. */
function count(least, most, pointer) {
  const isCount = (number) => number === Infinity || (Number.isInteger(number) && number >= 0);
  if (!isCount(least) || !isCount(most ?? 0)) fails(pointer, "and its lower bound must be counts");
  if (most === undefined || most === Infinity) return "";
  return most >= least ? most : fails(pointer, "is below the least");
}

function repeated(rule, least, most) {
  return most === 0 ? "" : `(${rule}){${Math.max(least, 0)},${most}}`;
}

/** least to most times the rule, with commas between. */
function list(rule, least, most) {
  if (most === 0) return "";
  const more = repeated(`"," space ${rule}`, least - 1, most === "" ? "" : most - 1);
  const some = [rule, more].filter(Boolean).join(" ");
  return least > 0 ? some : `(${some})?`;
}
