// Completion mode: one text that the reader and the model write together.  No DOM here; the page listens to "text"
// (it has changed, not by the reader), "busy".
// A notebook is {id, kind: "completion", changed, text, reply}; reply is what the model wrote last.

import * as chats from "./chats.js";
import { ofText } from "./requests.js";
import { last } from "./store.js";
import { freshId } from "./tree.js";

const SAVE_EVERY_MS = 500;

export const freshNotebook = () => ({ id: freshId(), kind: "completion", changed: Date.now(), text: "", reply: null });

export class Notebook extends EventTarget {
  #book = freshNotebook();
  #replies;
  #settings;
  #timer = 0; // while what the reader has written is not kept yet
  #before = []; // texts to go back to

  constructor(replies, settings) {
    super();
    this.#replies = replies;
    this.#settings = settings;
  }

  get id() {
    return this.#book.id;
  }

  get text() {
    return this.#book.text;
  }

  get reply() {
    return this.#book.reply;
  }

  get busy() {
    return this.#replies.get(this.#book.id) !== undefined;
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  open(book) {
    this.keep();
    this.#book = this.#replies.get(book.id) ?? book;
    this.#before = [];
    if (book.reply && !this.busy) book.reply.outcome ??= "interrupted";
    last.set(book.id);
    this.#tell("text");
    this.#tell("busy");
  }

  /** The reader has written. */
  write(text) {
    this.#book.text = text;
    this.#timer ||= setTimeout(() => this.keep(), SAVE_EVERY_MS);
  }

  /** The model goes on from the end of the text. */
  async go() {
    const book = this.#book;
    const before = book.text;
    const reply = (book.reply = { content: "" });
    const isShown = () => this.#book === book;
    const grown = () => {
      book.text = before + reply.content;
      if (isShown()) this.#tell("text");
    };
    this.#before.push(before);
    const made = this.#replies.make(book, (so) => ofText(this.#settings, before + so.content), reply, grown);
    this.#tell("busy");
    await made;
    if (isShown()) this.#tell("busy");
  }

  stop() {
    this.#replies.stop(this.#book.id);
  }

  /** Back to the text before the model wrote last. */
  undo() {
    if (this.busy || !this.canUndo) return;
    Object.assign(this.#book, { text: this.#before.pop(), reply: null });
    chats.touch(this.#book);
    this.#tell("text");
    this.#tell("busy");
  }

  /** What the reader has written since is saved now. */
  keep() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    chats.touch(this.#book);
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
