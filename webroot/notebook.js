// Completion mode: one text that the reader and the model write together.  No DOM here; the page listens to "text"
// (it has changed, not by the reader), "busy", "unsaved".
// A notebook is {id, kind: "completion", changed, text, reply}; reply is what the model wrote last.

import * as chats from "./chats.js";
import { generate } from "./generate.js";
import { ofText } from "./requests.js";
import { last } from "./store.js";
import { freshId } from "./tree.js";

const SAVE_EVERY_MS = 500;

export const freshNotebook = () => ({ id: freshId(), kind: "completion", changed: Date.now(), text: "", reply: null });

export class Notebook extends EventTarget {
  #book = freshNotebook();
  #abort = null;
  #saved = 0;
  #before = []; // texts to go back to

  constructor(server, settings) {
    super();
    this.server = server;
    this.settings = settings;
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
    return this.#abort !== null;
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  open(book) {
    this.leave();
    this.#book = book;
    this.#before = [];
    if (book.reply) book.reply.outcome ??= "interrupted";
    last.set(book.id);
    this.#tell("text");
    this.#tell("busy");
  }

  /** The reader has written. */
  write(text) {
    this.#book.text = text;
    this.#saveSoon();
  }

  /** The model goes on from the end of the text. */
  async go() {
    const book = this.#book;
    const before = book.text;
    const abort = (this.#abort = new AbortController());
    const reply = (book.reply = { content: "" });
    this.#before.push(before);
    this.#tell("busy");
    const grown = () => {
      if (this.#abort !== abort) return;
      book.text = before + reply.content;
      this.#saveSoon();
      this.#tell("text");
    };
    await generate(this.server, (so) => ofText(this.settings, before + so.content), reply, {
      signal: abort.signal,
      grown,
    });
    if (this.#abort !== abort) return;
    this.#abort = null;
    this.#save();
    this.#tell("text");
    this.#tell("busy");
  }

  stop() {
    this.#abort?.abort();
  }

  /** Back to the text before the model wrote last. */
  undo() {
    if (this.busy || !this.canUndo) return;
    Object.assign(this.#book, { text: this.#before.pop(), reply: null });
    this.#save();
    this.#tell("text");
    this.#tell("busy");
  }

  keep() {
    this.#save();
  }

  leave() {
    if (this.#book.text) this.#save();
    this.stop();
    this.#abort = null;
  }

  #saveSoon() {
    if (performance.now() - this.#saved > SAVE_EVERY_MS) this.#save();
  }

  async #save() {
    this.#saved = performance.now();
    this.#book.changed = Date.now();
    if (!(await chats.save(this.#book))) this.#tell("unsaved");
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
