// The conversation on screen: the tree of what was said, and the reply being made.  No DOM here; the page listens to
// "path" (other messages are on screen), "message" (one has changed, .detail), "busy" (a reply starts or ends),
// "open" (another chat).  A reply goes on while another chat is on screen.

import * as chats from "./chats.js";
import { ofChat } from "./requests.js";
import { last } from "./store.js";
import * as tree from "./tree.js";

export class Chat extends EventTarget {
  #chat = tree.freshChat();
  #replies;
  #settings;

  constructor(replies, settings) {
    super();
    this.#replies = replies;
    this.#settings = settings;
  }

  get id() {
    return this.#chat.id;
  }

  /** Those on screen. */
  get messages() {
    return tree.path(this.#chat);
  }

  get busy() {
    return this.#replies.get(this.#chat.id) !== undefined;
  }

  open(chat) {
    this.#chat = this.#replies.get(chat.id) ?? chat;
    if (!this.busy)
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

  /** The question in other words, beside the old one, with a reply of its own.  One that is being made below the old
   *  one ends. */
  ask(question, text) {
    this.#replies.end(this.#chat.id);
    const { role, images } = question;
    tree.add(this.#chat, { role, content: text, ...(images && { images }) }, question.parent);
    return this.#answer();
  }

  /** Other words in place; returns what puts the old ones back. */
  rewrite(message, text) {
    const chat = this.#chat; // another may be on screen when the old words come back
    const { content, probs } = message;
    const put = (words, entries) => {
      message.content = words;
      if (entries) message.probs = entries;
      else delete message.probs;
      chats.touch(chat);
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
    chats.touch(this.#chat);
    this.#tell("path");
  }

  stop() {
    this.#replies.stop(this.#chat.id);
  }

  #answer(parent) {
    return this.#make(tree.add(this.#chat, { role: "assistant", content: "" }, parent));
  }

  async #make(reply) {
    const chat = this.#chat;
    const before = this.messages.slice(0, -1);
    const isShown = () => this.#chat === chat;
    const grown = () => isShown() && this.#tell("message", reply);
    const made = this.#replies.make(chat, (so) => ofChat(this.#settings, before, so), reply, grown);
    this.#tell("path");
    this.#tell("message", reply);
    this.#tell("busy");
    await made;
    if (isShown()) this.#tell("busy");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
