// Two schemas that a value must fit at the same time, as one.

const UNION = new Set(["required"]);
const LARGER = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"]);
const SMALLER = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"]);
const BOTH = new Set(["items", "additionalProperties"]); // schemas themselves
const ANNOTATIONS = new Set(
  "title description default examples deprecated readOnly writeOnly $comment $schema $id $defs definitions".split(" "),
);

/** Whether a keyword says nothing about which values fit. */
export const isAnnotation = (keyword) => ANNOTATIONS.has(keyword);

/** allOf: [a, b] without allOf, where a and b are objects without $ref and allOf.  Throws by fail(keyword). */
export function merged(a, b, fail) {
  // What additionalProperties and items speak of depends on their own schema's properties and prefixItems.
  const isOpen = (schema) => [undefined, true].includes(schema.additionalProperties);
  const names = (schema) => Object.keys(schema.properties ?? {});
  const adds = (one, other) => names(other).some((name) => !names(one).includes(name));
  if ((!isOpen(a) && adds(a, b)) || (!isOpen(b) && adds(b, a))) fail("additionalProperties");
  if ("prefixItems" in a !== "prefixItems" in b && ("items" in a || "items" in b)) fail("items");
  const all = { ...a };
  for (const [keyword, value] of Object.entries(b)) {
    if (isAnnotation(keyword)) continue;
    all[keyword] = keyword in a ? combined(keyword, a[keyword], value, fail) : value;
  }
  return all;
}

function combined(keyword, x, y, fail) {
  if (JSON.stringify(x) === JSON.stringify(y)) return x;
  if (keyword === "type") return commonTypes([x].flat(), [y].flat());
  if (keyword === "properties") return combinedProperties(x, y);
  if (keyword === "enum") return x.filter((value) => y.map((v) => JSON.stringify(v)).includes(JSON.stringify(value)));
  if (UNION.has(keyword)) return [...new Set([...x, ...y])];
  if (LARGER.has(keyword)) return Math.max(x, y);
  if (SMALLER.has(keyword)) return Math.min(x, y);
  if (BOTH.has(keyword) && !Array.isArray(x) && !Array.isArray(y)) return { allOf: [x, y] };
  return fail(keyword);
}

function combinedProperties(x, y) {
  const all = { ...x };
  for (const [name, schema] of Object.entries(y)) all[name] = name in x ? { allOf: [x[name], schema] } : schema;
  return all;
}

function commonTypes(x, y) {
  const fits = (type, types) => types.includes(type) || (type === "integer" && types.includes("number"));
  return [...new Set([...x.filter((type) => fits(type, y)), ...y.filter((type) => fits(type, x))])];
}
