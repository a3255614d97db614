// One message on screen: its text, what went wrong, its buttons, its figures, and the place where it is edited.

import { $, copyButton, h, iconButton, toast } from "./dom.js";

/** Text as it stands: questions, and replies until it is known what shows them. */
class Plain {
  #root;

  constructor(root) {
    this.#root = root;
  }

  update(text) {
    this.#root.textContent = text;
  }
}

/** Replies where the server was installed without the page's libraries. */
class Paragraphs {
  #root;

  constructor(root) {
    this.#root = root;
  }

  update(text) {
    const texts = text.split(/\n\s*\n/);
    while (this.#root.childNodes.length > texts.length) this.#root.lastChild.remove();
    for (const [i, paragraph] of texts.entries()) {
      const node = this.#root.childNodes[i] ?? this.#root.appendChild(h("p", { dir: "auto" }));
      if (node.textContent !== paragraph) node.textContent = paragraph;
    }
  }
}

let Reply = Plain; // until loadMarkdown() has come to its end

/** Replies drawn from then on are markdown; without its library they are paragraphs of plain text. */
export async function loadMarkdown() {
  Reply = (await import("./markdown.js").catch(() => null))?.Markdown ?? Paragraphs;
}

export class Message {
  #message;
  #chat;
  #act;
  #text; // shows the content; made anew when markdown has come or probabilities have gone
  #body;
  #foot = h("div", { class: "foot" });
  #probs = null; // the view of token probabilities, while it is open

  /** act: {again, goOn, edit, fresh, write}, what the buttons do beside those of the message itself; write: the focus
   *  goes to where messages are written. */
  constructor(message, chat, act) {
    this.#message = message;
    this.#chat = chat;
    this.#act = act;
    this.#body = h("div", { class: "body", dir: this.#isUser ? "auto" : null }, message.content);
    this.article = h(
      "article",
      { class: message.role, "aria-label": this.#isUser ? "You" : "Reply" },
      this.#body,
      this.#foot,
    );
    if (message.images) this.article.prepend(pictures(message.images));
  }

  get #isUser() {
    return this.#message.role === "user";
  }

  draw() {
    const message = this.#message;
    const streaming = !this.#isUser && !message.outcome;
    const focused = this.#foot.contains(document.activeElement) && document.activeElement.ariaLabel;
    if (!this.#probs) this.#show(!streaming);
    this.article.setAttribute("aria-busy", streaming);
    this.#foot.replaceChildren(...(streaming ? this.#waiting() : this.#footing()));
    if (focused && !this.focus(focused)) this.#act.write();
  }

  /** Puts the focus on the button of this name, or to where one turns the other way; false where there is none. */
  focus(label) {
    const buttons = [...this.#foot.querySelectorAll("button:enabled")];
    const isTurn = (button) => label.startsWith("The ") && button.parentNode.matches(".branches");
    const found = buttons.find((button) => button.ariaLabel === label) ?? buttons.find(isTurn);
    found?.focus();
    return found !== undefined;
  }

  #show(done) {
    const Kind = this.#isUser ? Plain : Reply;
    if (!(this.#text instanceof Kind)) {
      this.#body.replaceChildren();
      this.#text = new Kind(this.#body);
    }
    this.#text.update(this.#message.content, done);
  }

  /** While the reply comes: how far the prompt has been read, or the pace. */
  #waiting() {
    const { progress, stats, content } = this.#message;
    if (progress && !content) return [progressLine(progress)];
    return content ? [h("div", { class: "row" }, figures(stats))] : [];
  }

  /** Under a finished message. */
  #footing() {
    const message = this.#message;
    const row = h("div", { class: "row" }, this.#branches());
    if (message.content) row.append(copyButton("Copy message", () => message.content));
    if (this.#isUser) {
      row.append(iconButton("edit", "Edit the message", () => this.edit()));
      return [row];
    }
    if (message.content) row.append(iconButton("edit", "Edit the reply", () => this.edit()));
    row.append(iconButton("again", "Make another reply", () => this.#act.again(message)));
    if (message.content)
      row.append(h("span", { class: "newest" }, iconButton("forward", "Continue the reply", this.#act.goOn)));
    if (message.probs) row.append(this.#probsButton());
    row.append(figures(message.stats));
    const note = noteOf(message);
    if (!note) return [row];
    const isFull = message.error?.kind === "context";
    const button = (label, onclick) => h("button", { type: "button", onclick }, label);
    const ways = isFull ? [button("New chat", this.#act.fresh), button("Edit the question", this.#act.edit)] : [];
    const mark = message.outcome === "error" ? "note error" : "note";
    return [h("p", { class: mark, role: message.error ? "alert" : null }, note, " ", ...ways), row];
  }

  /** "< 2 / 3 >" where the message has siblings. */
  #branches() {
    const [place, count] = this.#chat.place(this.#message);
    if (count < 2) return "";
    const step = (by, name, label) => {
      const button = iconButton(name, label, () => this.#chat.turn(this.#message, by));
      button.disabled = place + by < 1 || place + by > count;
      return button;
    };
    const label = this.#isUser ? "question" : "reply";
    return h(
      "span",
      { class: "branches", role: "group", "aria-label": "Versions" },
      step(-1, "left", `The ${label} before`),
      h("span", {}, `${place} / ${count}`),
      step(1, "right", `The next ${label}`),
    );
  }

  #probsButton() {
    const button = iconButton("probs", "Token probabilities", async () => {
      if (this.#probs) return this.#closeProbs();
      try {
        const { Probabilities } = await import("./probs.js");
        this.#text = null;
        this.#probs = new Probabilities(this.#body, this.#message.probs);
      } catch {
        return toast("The server does not answer: this part of the page could not be loaded.");
      }
      button.setAttribute("aria-pressed", "true");
    });
    button.setAttribute("aria-pressed", String(this.#probs !== null));
    return button;
  }

  #closeProbs() {
    this.#probs = null;
    this.draw();
  }

  /** The text in a field.  A question is sent again, beside the old one, or changed in place; a reply is changed. */
  edit() {
    if (this.#chat.busy) return;
    this.#probs = null;
    const old = this.#message.content;
    const came = document.activeElement;
    const field = h("textarea", {
      dir: "auto",
      "aria-label": "Edit the text",
      rows: Math.min(16, old.split("\n").length + 1),
    });
    field.value = old;
    const close = () => {
      this.#text = null;
      form.replaceWith(this.#body);
      this.draw();
      if (came.isConnected || !this.focus(this.#isUser ? "Edit the message" : "Edit the reply")) this.#act.write();
    };
    const save = () => {
      close();
      if (field.value !== old) toast("Changed.", this.#chat.rewrite(this.#message, field.value));
    };
    const send = () => {
      close();
      if (field.value.trim()) this.#chat.ask(this.#message, field.value.trim());
      this.#act.write();
    };
    const form = editor(
      field,
      this.#isUser
        ? [
            ["Send", send],
            ["Save", save],
          ]
        : [["Save", save]],
      close,
    );
    this.#body.replaceWith(form);
    this.#foot.replaceChildren();
    field.focus();
  }
}

/** ways: [label, action], the first is the usual one and what Ctrl+Enter does. */
function editor(field, ways, close) {
  const buttons = ways.map(([label, action], i) =>
    h("button", { type: "button", class: i === 0 ? "primary" : null, onclick: action }, label),
  );
  const cancel = h("button", { type: "button", onclick: close }, "Cancel");
  const form = h("div", { class: "editor" }, field, h("div", { class: "row" }, cancel, ...buttons.reverse()));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ways[0][1]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return form;
}

function pictures(images) {
  const shown = images.map((blob) => {
    const image = h("img", { src: URL.createObjectURL(blob), alt: "An attached picture" });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    return image;
  });
  return h("div", { class: "pictures" }, ...shown);
}

function progressLine({ total, cache, processed }) {
  const text = `Reading the prompt: ${processed} of ${total} tokens`;
  const bar = h("progress", { max: total - cache, "aria-label": text });
  bar.value = processed - cache;
  return h("div", { class: "reading" }, bar, h("span", {}, text));
}

function noteOf({ outcome, error, content, resumed }) {
  if (outcome === "error") return error.text;
  if (outcome === "length") return "Cut off: the limit in the settings, or the end of the model's context, is reached.";
  if (outcome === "stopped") return content ? "Stopped." : "Stopped before the first word.";
  if (outcome === "interrupted") return "Interrupted: the page was closed or reloaded.";
  if (resumed) return "The connection was lost in between; the reply was gone on with.";
  return content ? "" : "The model ended its reply without a word.";
}

/** "42 tokens · 31.5 tokens/s", the rest on hover. */
export function figures(stats) {
  if (!stats) return "";
  const { tokens, perSecond, prompt, cached, firstMs } = stats;
  const shown = [
    tokens !== null && `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
    perSecond && `${perSecond.toFixed(1)} tokens/s`,
    firstMs !== null && `first after ${(firstMs / 1000).toFixed(2)} s`,
  ];
  const more = prompt === null ? "" : `Prompt: ${prompt} tokens, ${cached} of them from the cache`;
  return h("span", { class: "figures", title: more }, shown.filter(Boolean).join(" · "));
}
