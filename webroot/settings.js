// The settings drawer, fetched when first opened.  A value the reader has not set is the server's: shown, but not sent.

import { $, h } from "./dom.js";
import { key } from "./store.js";

// name: the request field.  slider: the usual range [min, max, step]; the number box takes the whole range [min, max].
// blank: what "not set" means where the server's default is not a plain number.
// theirs: the default of /v1/* where it is not the one in /props, which speaks for /completion.
const FIELDS = [
  {
    name: "temperature",
    label: "Temperature",
    slider: [0, 2, 0.05],
    range: [0, 100],
    help: "Low is sober, high is adventurous. 0 always takes the likeliest word.",
  },
  {
    name: "top_k",
    label: "Top-k",
    slider: [0, 100, 1],
    range: [0, 1000000],
    help: "Choose among this many likeliest tokens. 0: among all.",
  },
  {
    name: "top_p",
    label: "Top-p",
    slider: [0, 1, 0.01],
    range: [0, 1],
    help: "Choose among the likeliest tokens that together reach this probability. 1: among all.",
  },
  {
    name: "min_p",
    label: "Min-p",
    slider: [0, 1, 0.01],
    range: [0, 1],
    help: "Drop tokens less likely than this share of the likeliest. 0: drop none.",
  },
  {
    name: "repeat_penalty",
    label: "Repeat penalty",
    slider: [0.5, 2, 0.05],
    range: [0.01, 100],
    theirs: 1,
    help: "Above 1, recent words come back less easily.",
  },
  { name: "max_tokens", label: "Longest reply", range: [1, 1000000], blank: "no limit", help: "In tokens." },
  {
    name: "seed",
    label: "Seed",
    range: [0, 4294967294],
    blank: "random",
    help: "The same seed and settings give the same reply.",
  },
];

/** Fills the dialog; returns what brings it up to date. */
export function mount(dialog, { settings, server }) {
  const form = $("form", dialog);
  const rows = FIELDS.map((field) => numberRow(field, settings, server));
  const system = systemRow(settings);
  const keyRow = apiKeyRow(server);
  const all = [system, ...rows, keyRow];
  const reset = h("button", { type: "button", onclick: () => (settings.clear(), show()) }, "Reset all settings");
  const show = () => all.forEach((row) => row.show());
  form.append(...all.map((row) => row.node), reset);
  form.addEventListener("submit", (event) => event.preventDefault());
  server.addEventListener("change", () => {
    for (const row of all) if (!row.node.contains(document.activeElement)) row.show(); // never under the writer's hands
  });
  return show;
}

function numberRow(field, settings, server) {
  const [min, max] = field.range;
  const step = field.slider?.[2] ?? 1;
  const id = `set-${field.name}`;
  const box = h("input", {
    type: "number",
    id,
    min,
    max,
    step: step < 1 ? "any" : 1,
    inputmode: "decimal",
    "aria-describedby": `${id}-help`,
  });
  const slider = field.slider
    ? h("input", { type: "range", min: field.slider[0], max: field.slider[1], step, "aria-label": field.label })
    : "";
  const back = h(
    "button",
    { type: "button", class: "back", "aria-label": `${field.label}: back to the server's value` },
    "reset",
  );
  const help = h("small", { id: `${id}-help` }, field.help);
  const node = h(
    "div",
    { class: "field" },
    h("div", { class: "line" }, h("label", { for: id }, field.label), back, box),
    slider,
    help,
  );

  const show = () => {
    const own = settings.get(field.name);
    const theirs = serverValue(field, server.props);
    box.value = own ?? "";
    box.placeholder = theirs ?? field.blank ?? "";
    if (slider) slider.value = own ?? theirs ?? field.slider[0];
    back.hidden = own === undefined;
    node.classList.toggle("own", own !== undefined);
  };
  const set = (value) => (settings.set(field.name, value), show());
  box.addEventListener("change", () => {
    if (box.value === "" && !box.validity.badInput) set(undefined);
    else if (box.reportValidity()) set(Number(box.value));
  });
  if (slider) slider.addEventListener("input", () => set(Number(slider.value)));
  back.addEventListener("click", () => set(undefined));
  return { node, show };
}

function systemRow(settings) {
  const text = h("textarea", {
    id: "set-system",
    rows: 3,
    dir: "auto",
    placeholder: "How the model should behave, in your words",
  });
  text.addEventListener("input", () => settings.set("system", text.value || undefined));
  const node = h(
    "div",
    { class: "field" },
    h("div", { class: "line" }, h("label", { for: "set-system" }, "System prompt")),
    text,
  );
  return { node, show: () => (text.value = settings.get("system") ?? "") };
}

/** The key is no setting: "reset all" leaves it. */
function apiKeyRow(server) {
  const box = h("input", { type: "password", id: "set-key", autocomplete: "off", placeholder: "none" });
  box.addEventListener("change", () => {
    key.set(box.value.trim());
    server.useKey(box.value.trim());
  });
  const node = h(
    "div",
    { class: "field" },
    h("div", { class: "line" }, h("label", { for: "set-key" }, "API key")),
    box,
  );
  return { node, show: () => (box.value = key.get()) };
}

/** The server's default; null where "none" or "random" says more than the number. */
function serverValue({ name, blank, theirs }, props) {
  const value = theirs ?? props.default_generation_settings?.params?.[name];
  const special = blank && (value < 0 || value > 4294967294);
  return typeof value === "number" && !special ? Number(value.toPrecision(6)) : null;
}
