// The conversation as the reader sees it: one article per message, the newest growing at most once per frame,
// and a window that follows the newest line until the reader scrolls away.

import { $, copyButton, h, iconButton } from "./dom.js";

const NEAR_PX = 48;

/** Text as it stands.  Replies get markdown.js's class of the same shape as soon as it has been fetched. */
class Plain {
  #root;

  constructor(root) {
    this.#root = root;
  }

  update(text) {
    this.#root.textContent = text;
  }
}

export class Log {
  #chat;
  #act; // { again, edit, fresh }: what the buttons under a reply do
  #shown = new Map(); // message -> its article's parts
  #Reply = Plain;
  #due = new Set(); // messages that have grown since the last frame
  #following = true;

  constructor(chat, act) {
    this.#chat = chat;
    this.#act = act;
    chat.addEventListener("open", () => this.#open());
    chat.addEventListener("message", ({ detail }) => this.#change(detail));
    chat.addEventListener("drop", ({ detail }) => this.#drop(detail));
    scroller().addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(scroller());
  }

  toBottom() {
    this.#following = true;
    this.#follow();
  }

  #open() {
    $(".log").replaceChildren();
    this.#shown.clear();
    for (const message of this.#chat.messages) this.#draw(message);
    this.#welcome();
    this.toBottom();
  }

  #change(message) {
    if (message.role === "user") this.#following = true;
    if (this.#due.size === 0) requestAnimationFrame(() => this.#frame());
    this.#due.add(message);
  }

  #frame() {
    for (const message of this.#due) if (this.#chat.messages.includes(message)) this.#draw(message);
    this.#due.clear();
    this.#welcome();
    this.#follow();
  }

  #draw(message) {
    if (!this.#shown.has(message)) this.#add(message);
    const { article, text, foot } = this.#shown.get(message);
    text.update(message.content);
    const streaming = message.role === "assistant" && !message.outcome;
    article.setAttribute("aria-busy", streaming);
    if (!streaming) foot.replaceChildren(...this.#footing(message));
  }

  #add(message) {
    const user = message.role === "user";
    const body = h("div", { class: "body", dir: user ? "auto" : null });
    const foot = h("div", { class: "foot" });
    const article = h("article", { class: message.role, "aria-label": user ? "You" : "Reply" }, body, foot);
    this.#shown.set(message, { article, body, foot, text: user ? new Plain(body) : new this.#Reply(body) });
    $(".log").append(article);
    if (this.#Reply === Plain) this.#fetchMarkdown();
  }

  async #fetchMarkdown() {
    const { Markdown } = await import("./markdown.js").catch(() => ({}));
    if (!Markdown || this.#Reply === Markdown) return;
    this.#Reply = Markdown;
    for (const [message, parts] of this.#shown) {
      if (message.role === "user") continue;
      parts.body.replaceChildren();
      parts.text = new Markdown(parts.body);
      parts.text.update(message.content);
    }
    this.#follow();
  }

  #drop(message) {
    this.#shown.get(message)?.article.remove();
    this.#shown.delete(message);
    this.#welcome();
  }

  #welcome() {
    $(".welcome").hidden = this.#chat.messages.length > 0;
  }

  /** Under a message: what went wrong, buttons, figures. */
  #footing(message) {
    const row = h("div", { class: "row" });
    if (message.content) row.append(copyButton("Copy message", () => message.content));
    if (message.role === "user") return [row];
    const note = noteOf(message);
    const fresh =
      message.error?.kind === "context" ? h("button", { type: "button", onclick: this.#act.fresh }, "New chat") : "";
    const edit = message.content ? "" : iconButton("edit", "Edit the message", this.#act.edit);
    const again = iconButton("again", "Make another reply", this.#act.again);
    row.append(h("span", { class: "newest" }, edit, again), figures(message.stats)); // shown under the newest only
    const mark = message.outcome === "error" ? "note error" : "note";
    return note ? [h("p", { class: mark, role: message.error ? "alert" : null }, note, " ", fresh), row] : [row];
  }

  #scrolled() {
    const box = scroller();
    this.#following = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    $(".jump").hidden = this.#following;
  }

  #follow() {
    if (this.#following) scroller().scrollTop = scroller().scrollHeight;
    $(".jump").hidden = this.#following;
  }
}

const scroller = () => $(".scroll");

function noteOf({ outcome, error, content }) {
  if (outcome === "error") return error.text;
  if (outcome === "length") return "Cut off: the limit in the settings, or the end of the model's context, is reached.";
  if (outcome === "stopped") return content ? "Stopped." : "Stopped before the first word.";
  if (outcome === "interrupted") return "Interrupted: the page was closed or reloaded.";
  return content ? "" : "The model ended its reply without a word.";
}

/** "42 tokens · 31.5 tokens/s", the rest on hover. */
function figures(stats) {
  if (!stats) return "";
  const { tokens, perSecond, prompt, cached, firstMs } = stats;
  const shown = [
    tokens !== null && `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
    perSecond && `${perSecond.toFixed(1)} tokens/s`,
  ];
  const more = [
    firstMs !== null && `first word after ${(firstMs / 1000).toFixed(2)} s`,
    prompt !== null && `prompt ${prompt} tokens, ${cached} of them from the cache`,
  ];
  return h("span", { class: "figures", title: more.filter(Boolean).join("\n") }, shown.filter(Boolean).join(" · "));
}
