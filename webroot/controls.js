// The controls of the settings drawer, one for each kind of field in fields.js: {node, show()}.

import { h, toast } from "./dom.js";

/** changed(): another value than before is set.  field.fixed: the default where it is not the server's to say. */
export function makeControl(field, settings, server, changed) {
  const id = `set-${field.name}`;
  const theirs = () => field.fixed ?? serverValue(field, server.props);
  const set = (value) => {
    settings.set(field.name, value);
    changed();
  };
  const kind = KINDS[field.kind ?? "number"](field, id, set);
  const backLabel = `${field.label}: back to the ${field.fixed === undefined ? "server's " : ""}default`;
  const back = h(
    "button",
    { type: "button", class: "back", "aria-label": backLabel, onclick: () => set(undefined) },
    "reset",
  );
  const label = h("label", { for: id }, field.label);
  const help = field.help ? h("small", { id: `${id}-help` }, field.help) : "";
  const node = h(
    "div",
    { class: "field" },
    h("div", { class: "line" }, label, back, kind.small ?? ""),
    ...(kind.large ?? []),
    help,
  );
  if (field.help) kind.input.setAttribute("aria-describedby", `${id}-help`);
  const show = () => {
    const own = settings.get(field.name);
    kind.show(own, theirs());
    back.hidden = own === undefined;
    node.classList.toggle("own", own !== undefined);
  };
  return { node, show };
}

// Each: (field, id, set) -> {input, small: beside the label, large: below it, show(own, theirs)}.
const KINDS = {
  number(field, id, set) {
    const [min, max] = field.range;
    const box = h("input", { type: "number", id, min, max, step: field.whole ? 1 : "any", inputmode: "decimal" });
    box.addEventListener("change", () => {
      if (box.value === "" && !box.validity.badInput) set(undefined);
      else if (box.reportValidity()) set(Number(box.value));
    });
    const [low, high, step] = field.slider ?? [];
    const slider = h("input", { type: "range", min: low, max: high, step, "aria-label": field.label });
    slider.addEventListener("input", () => set(Number(slider.value)));
    const show = (own, theirs) => {
      if (document.activeElement !== box || box.validity.valid) box.value = own ?? "";
      box.placeholder = theirs ?? field.blank ?? "";
      slider.value = own ?? theirs ?? low;
    };
    return { input: box, small: box, large: field.slider ? [slider] : [], show };
  },

  flag(field, id, set) {
    const box = h("input", { type: "checkbox", id, onchange: () => set(box.checked) });
    return { input: box, small: box, show: (own, theirs) => (box.checked = own ?? theirs ?? false) };
  },

  choice(field, id, set) {
    const values = field.options.map(([value]) => value);
    const box = h("select", { id }, ...field.options.map(([value, label]) => h("option", { value }, label)));
    box.addEventListener("change", () => set(values[box.selectedIndex]));
    return {
      input: box,
      small: box,
      show: (own, theirs) => (box.selectedIndex = Math.max(0, values.indexOf(own ?? theirs))),
    };
  },

  text: (field, id, set) =>
    written(h("textarea", { id, rows: field.rows ?? 2, dir: "auto" }), set, field, String, (text) => text || undefined),
  line: (field, id, set) =>
    written(h("input", { type: "text", id, dir: "auto" }), set, field, String, (text) => text || undefined),
  lines: (field, id, set) => written(h("textarea", { id, rows: 2, dir: "auto" }), set, field, linesOf, listOf),
  names: (field, id, set) =>
    written(h("textarea", { id, rows: 2, dir: "ltr" }), set, field, (list) => list.join(", "), namesOf),
  biases: (field, id, set) => written(h("textarea", { id, rows: 2, dir: "auto" }), set, field, biasLines, biasesOf),

  grammar(field, id, set) {
    const text = h("textarea", { id, rows: 6, dir: "ltr", spellcheck: "false", class: "mono" });
    const order = h("input", { type: "text", "aria-label": "Order of properties", placeholder: "order: a, b" });
    const convert = h("button", { type: "button" }, "Convert JSON schema");
    convert.addEventListener("click", async () => {
      const grammar = await toGrammar(text.value, order.value);
      if (grammar) set(grammar);
    });
    const parts = written(text, set, field, String, (words) => words || undefined);
    return { ...parts, large: [text, h("div", { class: "line" }, order, convert)] };
  },
};

/** A field of text.  shown(value) -> text; read(text) -> value, or undefined for none; it may throw a sentence. */
function written(box, set, field, shown, read) {
  box.addEventListener("change", () => {
    try {
      set(read(box.value));
    } catch (error) {
      toast(`${field.label}: ${error.message}`);
    }
  });
  const show = (own, theirs) => {
    box.value = own === undefined ? "" : shown(own);
    box.placeholder = theirs?.length ? shown(theirs) : (field.blank ?? "");
  };
  return { input: box, large: [box], show };
}

const escaped = (text) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const unescaped = (text) => text.replace(/\\(.)/g, (_, sign) => (sign === "n" ? "\n" : sign));
const linesOf = (list) => list.map(escaped).join("\n");
const namesOf = (text) => (text.trim() ? text.split(/[\s,;]+/).filter(Boolean) : undefined);

function listOf(text) {
  const list = text.split("\n").filter(Boolean).map(unescaped);
  return list.length ? list : undefined;
}

const biasLines = (list) =>
  list.map(([token, bias]) => `${typeof token === "string" ? escaped(token) : token}: ${bias}`).join("\n");

function biasesOf(text) {
  const list = text
    .split("\n")
    .filter((line) => line.trim())
    .map((line) => {
      const at = line.lastIndexOf(":");
      const [token, bias] = [line.slice(0, at), line.slice(at + 1).trim()];
      if (at < 1 || !(bias === "false" || Math.abs(Number(bias)) <= 100))
        throw new Error(`“${line}” is no token and number.`);
      return [/^\d+$/.test(token) ? Number(token) : unescaped(token), bias === "false" ? false : Number(bias)];
    });
  return list.length ? list : undefined;
}

/** GBNF for a JSON schema; null where it cannot be, which is told. */
async function toGrammar(text, order) {
  try {
    const { SchemaConverter } = await import("./json-schema-to-grammar.mjs");
    const names = order
      .replace(/^\s*order\s*:/, "")
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean);
    const converter = new SchemaConverter(Object.fromEntries(names.map((name, i) => [name, i])));
    converter.visit(JSON.parse(text), "");
    return converter.formatGrammar();
  } catch (error) {
    toast(`Convert failed: ${error.message}`);
    return null;
  }
}

/** The server's default; null where "none" or "random" says more than the number. */
function serverValue({ name, blank, differs: [native, chat] = [] }, props) {
  const told = props.default_generation_settings?.params?.[name];
  const value = told === native ? (chat ?? told) : told; // another value is the operator's, for both
  if (typeof value !== "number") return value ?? null;
  return blank && (value < 0 || value > 4294967294) ? null : Number(value.toPrecision(6));
}
