// The drawer that shows the server at work, fetched when first opened: what each slot does, the queue, the cache, and
// tokens per second as a picture.  It asks once a second while it is open.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { $, h } from "./dom.js";

const EVERY_MS = 1000;
const KEPT = 120; // looks

/** Fills the dialog; returns what starts it. */
export function mount(dialog, { server }) {
  const model = h("p", { class: "name" });
  const pace = h("strong");
  const picture = h("div", { class: "picture" });
  const slots = h("ul", { class: "slots" });
  const figures = h("dl", { class: "numbers" });
  const note = h("p", { class: "note" });
  dialog.append(
    h("section", {}, h("h3", {}, "Model"), model),
    h("section", {}, h("h3", {}, "Tokens per second"), pace, picture),
    h("section", {}, h("h3", {}, "Slots"), slots),
    figures,
    note,
  );
  const paces = [];
  let before = null;
  let opened = 0; // times

  async function look(mine) {
    if (!dialog.open || mine !== opened) return;
    model.textContent = server.model;
    const [lanes, counts] = await Promise.all([asked(api.slots, server.key), asked(api.metrics, server.key)]);
    const metrics = typeof counts.value === "string" ? parseMetrics(counts.value) : null;
    note.textContent = [...new Set([lanes.trouble, counts.trouble])].filter(Boolean).join(" ");
    if (lanes.value) slots.replaceChildren(...lanes.value.map(slotRow));
    const total = metrics?.get("llamacpp:tokens_predicted_total") ?? (lanes.value && decoded(lanes.value));
    if (total !== undefined && total !== null) track(total);
    if (metrics) figures.replaceChildren(...numbers(metrics));
    setTimeout(look, EVERY_MS, mine);
  }

  function track(total) {
    const now = { total, at: performance.now() };
    const rate = before && now.total >= before.total ? (1000 * (now.total - before.total)) / (now.at - before.at) : 0;
    before = now;
    paces.push(rate);
    if (paces.length > KEPT) paces.shift();
    pace.textContent = rate.toFixed(1);
    picture.replaceChildren(
      chart(
        paces,
        KEPT,
        `${rate.toFixed(1)} tokens per second now, at most ${Math.max(...paces).toFixed(1)} in the last two minutes`,
      ),
    );
  }

  return () => setTimeout(look, 0, ++opened);
}

/** {value} or {trouble}, in words. */
async function asked(call, key) {
  try {
    return { value: await call(key) };
  } catch (error) {
    const what = call === api.slots ? "slots" : "the queue, the cache and the pace of all";
    if (error.kind === "off")
      return {
        trouble: `This server does not show ${what}${call === api.metrics ? ": it was started without --metrics." : "."}`,
      };
    return { trouble: error.message };
  }
}

function slotRow({
  id,
  n_ctx: size,
  is_processing: busy,
  n_prompt_tokens: prompt = 0,
  n_prompt_tokens_processed: read = 0,
  n_prompt_tokens_cache: cached = 0,
  next_token: [next] = [{}],
}) {
  const made = next?.n_decoded ?? 0;
  const words = !busy
    ? "idle"
    : made === 0 && read + cached < prompt
      ? `reading, ${read + cached} of ${prompt}`
      : `writing, ${made} tokens`;
  const bar = h("meter", { min: 0, max: size, "aria-label": `Slot ${id}: tokens of its context` });
  bar.value = prompt + made;
  return h("li", { class: busy ? "busy" : null }, h("span", {}, `${id}`), bar, h("span", {}, words));
}

const decoded = (lanes) => lanes.reduce((sum, { next_token: [next] = [] }) => sum + (next?.n_decoded ?? 0), 0);

function numbers(metrics) {
  const get = (name) => metrics.get(name) ?? 0;
  const cached = get("llamacpp:prompt_tokens_cached_total");
  const prompts = cached + get("llamacpp:prompt_tokens_total");
  const pages = ["used", "cached", "free"].map((state) => get(`llamatw_kv_pages{state="${state}"}`));
  const all = pages[0] + pages[1] + pages[2];
  const share = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–");
  const rows = [
    ["Running", get("llamacpp:requests_processing")],
    ["Waiting", get("llamacpp:requests_deferred")],
    ["Prompt tokens from the cache", share(cached, prompts)],
    ["Memory for tokens", `${share(pages[0], all)} in use, ${share(pages[1], all)} kept`],
    ["Tokens written in all", get("llamacpp:tokens_predicted_total").toLocaleString()],
    ["First token, on average", mean(get, "llamatw_time_to_first_token_seconds")],
  ];
  return rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))));
}

function mean(get, name) {
  const count = get(`${name}_count`);
  return count > 0 ? `${(get(`${name}_sum`) / count).toFixed(2)} s` : "–";
}

/** Prometheus text -> Map of name with labels to number. */
export function parseMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const parts = /^([^#\s]\S*(?:\{[^}]*\})?) (\S+)/.exec(line);
    if (parts) found.set(parts[1], Number(parts[2]));
  }
  return found;
}
