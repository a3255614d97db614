// Completion mode on screen, fetched when first opened: a sheet of text, and under it the buttons of its notebook.

import { h, iconButton, unreachable } from "./dom.js";
import { figures } from "./message.js";

const NOTES = {
  length: "Stopped at the limit. Go on for more.",
  stopped: "Stopped.",
  interrupted: "Interrupted: the page was closed or reloaded.",
};

export class Sheet {
  #book;
  #field = h("textarea", {
    class: "sheet",
    dir: "auto",
    "aria-label": "Text",
    placeholder: "Write a beginning. The model goes on from there, word by word.",
    spellcheck: "false",
  });
  #go = h("button", { type: "button", class: "primary", onclick: () => this.go() }, "Go on");
  #stop = h("button", { type: "button", onclick: () => this.#book.stop() }, "Stop");
  #undo = h("button", { type: "button", onclick: () => this.#book.undo() }, "Undo");
  #probs = iconButton("probs", "Token probabilities", () => this.#showProbs());
  #note = h("span", { class: "note", role: "status" });
  #figures = h("span");
  #view = h("div", { class: "body" });
  #viewed = null; // the reply whose probabilities are shown
  #frame = 0;

  constructor(root, book) {
    this.#book = book;
    const bar = h("div", { class: "bar" }, this.#go, this.#stop, this.#undo, this.#probs, this.#figures, this.#note);
    root.replaceChildren(this.#field, this.#view, bar);
    this.#field.addEventListener("input", () => {
      book.write(this.#field.value);
      this.#draw();
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.go();
    });
    book.addEventListener("text", () => (this.#frame ||= requestAnimationFrame(() => this.#draw())));
    book.addEventListener("busy", () => this.#draw());
  }

  focus() {
    this.#field.focus();
  }

  go() {
    if (this.#book.busy || !this.#book.text) return;
    this.#book.go();
  }

  #draw() {
    this.#frame = 0;
    const { text, busy, reply, canUndo } = this.#book;
    if (this.#field.value !== text) {
      const follows = this.#field.scrollHeight - this.#field.scrollTop - this.#field.clientHeight < 48;
      this.#field.value = text;
      if (follows) this.#field.scrollTop = this.#field.scrollHeight;
    }
    this.#field.readOnly = busy;
    this.#go.hidden = busy;
    this.#go.disabled = !text;
    this.#stop.hidden = !busy;
    this.#undo.disabled = busy || !canUndo;
    this.#probs.hidden = busy || !reply?.probs;
    this.#figures.replaceChildren(reply ? figures(reply.stats) : "");
    this.#note.textContent = busy ? progress(reply) : (reply?.error?.text ?? NOTES[reply?.outcome] ?? "");
    this.#note.classList.toggle("error", Boolean(!busy && reply?.error));
    if (this.#viewed !== reply) this.#viewed = null;
    this.#view.hidden = !this.#viewed;
    this.#probs.setAttribute("aria-pressed", String(!this.#view.hidden));
  }

  async #showProbs() {
    const { reply } = this.#book;
    const part = await import("./probs.js").catch(unreachable);
    if (!part) return;
    this.#viewed = this.#viewed === reply ? null : reply;
    if (this.#viewed) new part.Probabilities(this.#view, reply.probs);
    this.#draw();
  }
}

const progress = (reply) =>
  reply.progress ? `Reading the text: ${reply.progress.processed} of ${reply.progress.total} tokens` : "";
