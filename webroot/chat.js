// The conversation on screen: the tree of what was said, and the reply being made.  No DOM here; the page listens to
// "path" (other messages are on screen), "message" (one has changed, .detail), "busy" (a reply starts or ends),
// "open" (another chat), "unsaved" (the browser keeps no more).

import * as chats from "./chats.js";
import { generate } from "./generate.js";
import { ofChat } from "./requests.js";
import { last } from "./store.js";
import * as tree from "./tree.js";

const SAVE_EVERY_MS = 500;

export class Chat extends EventTarget {
  #chat = tree.freshChat();
  #abort = null; // of the reply being made
  #reply = null;
  #saved = 0;

  constructor(server, settings) {
    super();
    this.server = server;
    this.settings = settings;
  }

  get id() {
    return this.#chat.id;
  }

  /** Those on screen. */
  get messages() {
    return tree.path(this.#chat);
  }

  get busy() {
    return this.#abort !== null;
  }

  open(chat) {
    this.leave();
    this.#chat = chat;
    for (const message of chat.messages) if (message.role === "assistant") message.outcome ??= "interrupted";
    last.set(chat.id);
    this.#tell("open");
    this.#tell("path");
    this.#tell("busy");
  }

  send(text, images = []) {
    tree.add(this.#chat, { role: "user", content: text, ...(images.length > 0 && { images }) });
    return this.#answer();
  }

  /** Another reply beside this one; one that has no text is made anew. */
  again(reply) {
    if (reply.content) return this.#answer(reply.parent);
    for (const field of ["outcome", "error", "stats", "resumed"]) delete reply[field];
    this.#chat.leaf = reply.id;
    return this.#make(reply);
  }

  /** The newest reply goes on. */
  goOn() {
    const reply = this.messages.at(-1);
    for (const field of ["outcome", "error"]) delete reply[field];
    return this.#make(reply);
  }

  /** The question in other words, beside the old one, with a reply of its own. */
  ask(question, text) {
    const { role, images } = question;
    tree.add(this.#chat, { role, content: text, ...(images && { images }) }, question.parent);
    return this.#answer();
  }

  /** Other words in place; returns what puts the old ones back. */
  rewrite(message, text) {
    const { content, probs } = message;
    const put = (words, entries) => {
      message.content = words;
      if (entries) message.probs = entries;
      else delete message.probs;
      this.#save();
      this.#tell("message", message);
    };
    put(text);
    return () => put(content, probs);
  }

  /** [place, count] of a message among its siblings, from 1. */
  place(message) {
    const all = tree.siblings(this.#chat, message);
    return [all.indexOf(message) + 1, all.length];
  }

  /** To the sibling before (-1) or after (1). */
  turn(message, step) {
    const all = tree.siblings(this.#chat, message);
    const other = all[all.indexOf(message) + step];
    if (!other || this.busy) return;
    tree.choose(this.#chat, other);
    this.#save();
    this.#tell("path");
  }

  stop() {
    this.#abort?.abort();
  }

  /** Keep what has arrived so far; the page is going away. */
  keep() {
    if (this.busy) this.#save();
  }

  /** The reply being made ends here, in its own chat and out of sight. */
  leave() {
    if (!this.busy) return;
    this.#reply.outcome = "stopped";
    this.#save();
    this.stop();
    this.#abort = null;
  }

  #answer(parent) {
    return this.#make(tree.add(this.#chat, { role: "assistant", content: "" }, parent));
  }

  async #make(reply) {
    const abort = (this.#abort = new AbortController());
    const before = this.messages.slice(0, -1);
    const isMine = () => this.#abort === abort;
    this.#reply = reply;
    this.#save();
    this.#tell("path");
    this.#tell("message", reply);
    this.#tell("busy");
    const grown = () => isMine() && this.#grown(reply);
    await generate(this.server, (so) => ofChat(this.settings, before, so), reply, { signal: abort.signal, grown });
    if (!isMine()) return;
    this.#abort = null;
    this.#save();
    this.#tell("message", reply);
    this.#tell("busy");
  }

  #grown(reply) {
    if (performance.now() - this.#saved > SAVE_EVERY_MS) this.#save();
    this.#tell("message", reply);
  }

  async #save() {
    this.#saved = performance.now();
    this.#chat.changed = Date.now();
    if (!(await chats.save(this.#chat))) this.#tell("unsaved");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
