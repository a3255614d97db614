// How full the model's context is: the tokens of the conversation, and of what is being written, against what it holds.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { ofChat } from "./requests.js";

const PAUSE_MS = 500; // of the writer's, before the server is asked

export class Meter {
  #chat;
  #settings;
  #server;
  #frame = 0;
  #timer;
  #asked = 0;
  #text = ""; // the message being written
  #draft = null; // tokens of the conversation with it

  constructor(chat, settings, server) {
    this.#chat = chat;
    this.#settings = settings;
    this.#server = server;
    chat.addEventListener("path", () => this.draft(this.#text));
    chat.addEventListener("message", () => this.#change());
    server.addEventListener("change", () => this.#change());
  }

  /** The message being written is this now. */
  draft(text) {
    const mine = ++this.#asked;
    clearTimeout(this.#timer);
    this.#text = text.trim();
    this.#draft = null;
    this.#change();
    if (this.#text) this.#timer = setTimeout(() => this.#ask(mine), PAUSE_MS);
  }

  async #ask(mine) {
    if (this.#server.state !== "ready" || this.#chat.busy) return;
    const messages = [...this.#chat.messages, { role: "user", content: this.#text }];
    const request = await ofChat(this.#settings, messages, { content: "" }).catch(() => null);
    const n = request && (await api.count(request, this.#server.key).catch(() => null));
    if (mine !== this.#asked) return;
    this.#draft = n;
    this.#change();
  }

  #change() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  #show() {
    const box = $(".context");
    const size = this.#server.contextSize;
    const used = this.#draft ?? this.#chat.messages.findLast(({ stats }) => stats)?.stats.used;
    box.hidden = !(used && size);
    if (box.hidden) return;
    const bar = $("meter", box);
    Object.assign(bar, { max: size, high: 0.8 * size, value: used });
    const tokens = `${used.toLocaleString()} of ${size.toLocaleString()} tokens of context`;
    $("span", box).textContent = this.#draft === null ? tokens : `${tokens}, with this message`;
  }
}
