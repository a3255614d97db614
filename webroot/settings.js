// The settings drawer, fetched when first opened.  A value the reader has not set is the server's: shown, but not sent.

import { $, h, toast } from "./dom.js";
import { makeControl } from "./controls.js";
import { GROUPS } from "./fields.js";
import { key } from "./store.js";
import { OWN } from "./templates.js";

const SYSTEM = {
  name: "page.system",
  label: "System prompt",
  kind: "text",
  rows: 3,
  blank: "How the model should behave, in your words",
};
const TEMPLATE = {
  name: "page.template_kind",
  label: "Prompt template",
  kind: "choice",
  fixed: "model",
  options: [
    ["model", "the model's own"],
    ["own", "written here"],
  ],
  help: "How a conversation becomes one text. Templates written here go to /completion and may use {{names}}.",
};
const OWN_FIELDS = [
  {
    name: "page.prompt",
    label: "Prompt",
    kind: "text",
    rows: 3,
    fixed: OWN.prompt,
    help: "{{prompt}} in the template.",
  },
  { name: "page.user", label: "Your name", kind: "line", fixed: OWN.user, help: "{{user}}" },
  { name: "page.char", label: "The model's name", kind: "line", fixed: OWN.char, help: "{{char}}" },
  { name: "page.template", label: "Template", kind: "text", rows: 4, fixed: OWN.template, help: "Of the whole text." },
  {
    name: "page.historyTemplate",
    label: "Template of a message",
    kind: "line",
    fixed: OWN.historyTemplate,
    help: "Messages joined by line breaks are {{history}}.",
  },
];

/** Fills the dialog; returns what brings it up to date. */
export function mount(dialog, { settings, server }) {
  const form = $("form", dialog);
  const controls = [];
  const changed = () => controls.forEach((control) => control.show());
  const control = (field) => {
    const made = makeControl(field, settings, server, changed);
    controls.push(made);
    return made.node;
  };
  const own = h("div", { class: "own-template" }, ...OWN_FIELDS.map(control));
  controls.push({ node: own, show: () => (own.hidden = settings.get("page.template_kind") !== "own") });
  const presets = presetRow(settings, changed);
  const keyRow = apiKeyRow(server);
  controls.push(presets, keyRow);
  form.append(
    presets.node,
    control(SYSTEM),
    control(TEMPLATE),
    own,
    ...GROUPS.map((group) => groupOf(group, control, settings, controls)),
  );
  form.append(keyRow.node, resetButton(settings, changed));
  form.addEventListener("submit", (event) => event.preventDefault());
  server.addEventListener("change", () => {
    for (const one of controls) if (!one.node.contains(document.activeElement)) one.show(); // never under the writer's hands
  });
  return changed;
}

/** A group that folds; it says how many of its values are the reader's. */
function groupOf({ title, fields, open }, control, settings, controls) {
  const count = h("span", { class: "count" });
  const node = h("details", { class: "group", open }, h("summary", {}, title, count), ...fields.map(control));
  const show = () => {
    const n = fields.filter(({ name }) => settings.get(name) !== undefined).length;
    count.textContent = n ? `${n} changed` : "";
  };
  controls.push({ node, show });
  return node;
}

function resetButton(settings, changed) {
  const reset = () => {
    const before = settings.values;
    settings.replace({});
    changed();
    toast("All settings are the server's again.", () => (settings.replace(before), changed()));
  };
  return h("button", { type: "button", onclick: reset }, "Reset all settings");
}

/** Sets of values under a name: choose one, keep the present ones, forget one. */
function presetRow(settings, changed) {
  const choice = h("select", { id: "set-preset" });
  const name = h("input", { type: "text", maxlength: 40, placeholder: "Name", "aria-label": "Name of the preset" });
  const save = h("button", { type: "button" }, "Save");
  const drop = h("button", { type: "button", class: "back" }, "delete");
  const line = h("div", { class: "line" }, h("label", { for: "set-preset" }, "Preset"), drop, choice);
  const node = h("div", { class: "field" }, line, h("div", { class: "line" }, name, save));
  let chosen = "";

  const show = () => {
    const names = settings.presets;
    if (!names.includes(chosen)) chosen = "";
    choice.replaceChildren(
      h("option", { value: "" }, names.length ? "none" : "none kept"),
      ...names.map((one) => h("option", { value: one }, one)),
    );
    choice.value = chosen;
    drop.hidden = !chosen;
  };
  choice.addEventListener("change", () => {
    chosen = choice.value;
    if (!chosen) return show();
    const before = settings.values;
    settings.replace(settings.preset(chosen));
    changed();
    toast(`Preset “${chosen}” is set.`, () => (settings.replace(before), changed()));
  });
  const keep = () => {
    if (!name.value.trim()) return name.focus();
    chosen = name.value.trim();
    name.value = "";
    settings.keepPreset(chosen, settings.values);
    show();
    toast(`Kept as “${chosen}”.`);
  };
  save.addEventListener("click", keep);
  name.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), keep()));
  drop.addEventListener("click", () => {
    const [gone, values] = [chosen, settings.preset(chosen)];
    settings.keepPreset(gone, undefined);
    show();
    toast(`Preset “${gone}” deleted.`, () => (settings.keepPreset(gone, values), show()));
  });
  return { node, show };
}

/** The key is no setting: "reset all" leaves it, and no preset holds it. */
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
