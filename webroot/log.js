// The conversation as the reader sees it: a Message for each one on the path, drawn when it comes near the window, the
// newest growing at most once per frame, and a window that follows the newest line until the reader scrolls away.

import { $ } from "./dom.js";
import { Message } from "./message.js";

const NEAR_PX = 48;
const AHEAD = "1800px"; // messages this near to the window are drawn
const FRAME_MS = 5; // of a frame, for drawing
const SHARE = 4; // drawing takes at most this part of the time

export class Log {
  #chat;
  #act; // what the buttons of a message do
  #shown = new Map(); // message -> Message
  #byNode = new WeakMap();
  #due = new Set(); // messages that have grown since they were drawn
  #frame = 0;
  #rest = 0; // no drawing before this time
  #following = true;
  #near = new IntersectionObserver((entries) => this.#approach(entries), {
    root: scroller(),
    rootMargin: `${AHEAD} 0px`,
  });

  constructor(chat, act) {
    this.#chat = chat;
    this.#act = act;
    chat.addEventListener("open", () => (this.#following = true));
    chat.addEventListener("path", () => this.#path());
    chat.addEventListener("message", ({ detail }) => this.#change(detail));
    scroller().addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(scroller());
    new ResizeObserver(() => this.#follow()).observe($(".log"));
  }

  toBottom() {
    this.#following = true;
    this.#follow();
  }

  /** Markdown has come: what was drawn without it is drawn again. */
  redraw() {
    for (const message of this.#chat.messages.slice(-2)) this.#change(message);
  }

  /** The newest message of a role, for keys that act on it. */
  newest(role) {
    const message = this.#chat.messages.findLast((one) => one.role === role);
    return this.#shown.get(message);
  }

  /** Nodes of messages that stay are kept; from the first that differs all are new. */
  #path() {
    const messages = this.#chat.messages;
    const focused = this.#focused();
    const stays = new Set(messages);
    for (const [message, { article }] of this.#shown) {
      if (stays.has(message)) continue;
      this.#near.unobserve(article);
      article.remove();
      this.#shown.delete(message);
    }
    const fresh = messages.filter((message) => !this.#shown.has(message));
    for (const message of fresh) this.#add(message);
    for (const message of messages.slice(-2)) this.#draw(message); // at once: the reader looks at them
    if (focused && document.activeElement === document.body) this.#refocus(focused, messages);
    if (fresh.at(-1)?.outcome === undefined) this.#following = true;
    this.#follow();
  }

  /** The button of a message that has the focus: [its label, the message's place]. */
  #focused() {
    const { activeElement: button } = document;
    const article = button.closest("article");
    return article && [button.ariaLabel, [...this.#shown.values()].findIndex((one) => one.article === article)];
  }

  /** To the button that stands in the place of one that has gone with its message, or to where one writes. */
  #refocus([label, at], messages) {
    if (!this.#shown.get(messages[at])?.focus(label)) this.#act.write();
  }

  #add(message) {
    const shown = new Message(message, this.#chat, this.#act);
    this.#shown.set(message, shown);
    this.#byNode.set(shown.article, message);
    $(".log").append(shown.article);
    this.#near.observe(shown.article);
  }

  #approach(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#near.unobserve(target);
      this.#change(this.#byNode.get(target));
    }
  }

  #change(message) {
    this.#due.add(message);
    this.#frame ||= requestAnimationFrame(() => this.#drawDue());
  }

  #drawDue() {
    const begin = performance.now();
    this.#frame = 0;
    if (begin < this.#rest && [...this.#due].every(({ outcome }) => outcome === undefined)) {
      this.#frame = requestAnimationFrame(() => this.#drawDue());
      return;
    }
    for (const message of this.#due) {
      this.#due.delete(message);
      this.#draw(message);
      if (performance.now() - begin > FRAME_MS) break; // the others in the next frame
    }
    if (this.#due.size > 0) this.#frame = requestAnimationFrame(() => this.#drawDue());
    this.#follow();
    const end = performance.now();
    this.#rest = end + (SHARE - 1) * (end - begin);
  }

  #draw(message) {
    this.#shown.get(message)?.draw();
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
