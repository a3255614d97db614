// The tokens of a reply, each with the colour of its probability; the alternatives of one on a click.  Fetched when
// first opened.

import { h } from "./dom.js";

const UNSURE = 0.5;

export class Probabilities {
  #entries;
  #tokens;
  #popover = h("div", { class: "alternatives", popover: "auto", role: "dialog", "aria-label": "Alternatives" });

  /** Fills the root; entries: [{token, bytes, prob, top: [[token, prob], ...]}]. */
  constructor(root, entries) {
    this.#entries = entries;
    this.#tokens = texts(entries).map((text, i) => tokenSpan(text, entries[i]));
    const list = h("div", { class: "tokens", dir: "auto", role: "group", "aria-label": "Tokens" }, ...this.#tokens);
    list.addEventListener("click", ({ target }) => this.#open(this.#tokens.indexOf(target)));
    list.addEventListener("keydown", (event) => this.#key(event));
    if (this.#tokens.length > 0) this.#tokens[0].tabIndex = 0;
    root.replaceChildren(this.#summary(), list, this.#popover);
  }

  #summary() {
    const unsure = this.#entries.filter(({ prob }) => prob < UNSURE).length;
    const scale = [5, 15, 35, 65, 95].map((percent) =>
      h("span", { class: "token", "data-p": level(percent / 100) }, `${percent} %`),
    );
    const words = `${unsure} of ${this.#entries.length} tokens were less likely than ${100 * UNSURE} %. Choose one to see what else it could have been.`;
    return h("p", { class: "legend" }, h("span", { class: "scale", "aria-hidden": "true" }, ...scale), words);
  }

  /** One stop for Tab; arrows go from token to token, N to the next unsure one. */
  #key(event) {
    const at = this.#tokens.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.#open(at);
    else if (step) this.#focus(at + step);
    else if (event.key === "n") this.#focus(this.#entries.findIndex(({ prob }, i) => i > at && prob < UNSURE));
    else return;
    event.preventDefault();
  }

  #focus(at) {
    if (!this.#tokens[at]) return;
    for (const token of this.#tokens) token.tabIndex = -1;
    this.#tokens[at].tabIndex = 0;
    this.#tokens[at].focus();
  }

  #open(at) {
    if (at < 0) return;
    const { token, prob, top } = this.#entries[at];
    const rows = top.some(([text]) => text === token) ? top : [...top, [token, prob]];
    this.#popover.replaceChildren(
      h("table", {}, h("tbody", {}, ...rows.map(([text, p]) => row(text, p, text === token)))),
    );
    this.#popover.showPopover();
    const box = this.#tokens[at].getBoundingClientRect();
    const own = this.#popover.getBoundingClientRect();
    const below = box.bottom + 6 + own.height < innerHeight;
    this.#popover.style.left = `${Math.max(8, Math.min(box.left, innerWidth - own.width - 8))}px`;
    this.#popover.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - own.height - 6)}px`;
  }
}

function row(text, prob, chosen) {
  const bar = h("meter", { min: 0, max: 1, "aria-hidden": "true" });
  bar.value = prob;
  return h(
    "tr",
    { class: chosen ? "chosen" : null },
    h("th", { scope: "row", dir: "auto" }, visible(text)),
    h("td", {}, bar),
    h("td", { class: "end" }, percent(prob)),
  );
}

function tokenSpan(text, { token, prob, top }) {
  const best = top[0]?.[0] ?? token;
  const node = h(
    "span",
    {
      class: "token",
      role: "button",
      tabindex: "-1",
      "data-p": level(prob),
      "aria-label": `${visible(text)}, ${percent(prob)}`,
    },
    text,
  );
  if (best !== token) node.dataset.other = ""; // not the likeliest was drawn
  return node;
}

/** Each token's share of the text: characters that several tokens make together show with the last of them. */
function texts(entries) {
  const decoder = new TextDecoder();
  return entries.map(({ token, bytes }) => (bytes ? decoder.decode(new Uint8Array(bytes), { stream: true }) : token));
}

/** 0 (hardly) to 5 (surely). */
const level = (prob) => [0.1, 0.25, 0.5, 0.8, 0.95].filter((bound) => prob >= bound).length;
const percent = (prob) => (prob > 0 && prob < 0.001 ? "< 0.1 %" : `${(100 * prob).toFixed(1)} %`);
const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·") || "∅";
