// The page's start: makes the parts, joins them, and owns what belongs to none of them: buttons, keys, the status line.

import { Chat } from "./chat.js";
import * as chats from "./chats.js";
import { Composer } from "./composer.js";
import { $, toast, unreachable } from "./dom.js";
import { Log } from "./log.js";
import { loadMarkdown } from "./message.js";
import { Meter } from "./meter.js";
import { Replies } from "./replies.js";
import { Server } from "./server.js";
import { Settings, draft, key, last } from "./store.js";
import { freshChat } from "./tree.js";

const settings = new Settings();
const server = new Server(key.get());
const replies = new Replies(server);
const chat = new Chat(replies, settings);
const log = new Log(chat, {
  again: (reply) => chat.busy || chat.again(reply),
  goOn: () => chat.busy || chat.goOn(),
  edit: () => log.newest("user").edit(),
  fresh: newChat,
  write: () => composer.focus(),
});
const meter = new Meter(chat, settings, server);
const composer = new Composer(send, (text) => {
  isEarly = false; // it is not yet what was to be sent
  meter.draft(text);
});

let isLaid = false; // something is on the desk: the kept chat, or what was opened before that came
let isEarly = false; // a message was sent before: it waits in its field, as it belongs to the kept chat

let notebook = null; // completion mode, fetched when first opened
let sheet = null;

// -- What is on the desk: a chat or a notebook

const desk = {
  get current() {
    return inChat() ? chat.id : notebook.id;
  },
  fresh: freshChat,
  open(record) {
    if (record.kind === "completion") return openNotebook(record);
    notebook?.keep();
    setMode("chat");
    chat.open(record);
    composer.focus();
  },
  end: (id) => replies.end(id),
};

const inChat = () => document.body.dataset.mode !== "completion";
const current = () => (inChat() ? chat : notebook);

function setMode(mode) {
  isLaid = true;
  document.body.dataset.mode = mode;
  for (const button of document.querySelectorAll("[data-mode-button]"))
    button.setAttribute("aria-pressed", String(button.dataset.modeButton === mode));
  showEmpty();
}

async function openNotebook(record) {
  try {
    const [{ Notebook, freshNotebook }, { Sheet }] = await Promise.all([import("./notebook.js"), import("./sheet.js")]);
    if (!notebook) {
      notebook = new Notebook(replies, settings);
      sheet = new Sheet($("#sheet"), notebook);
      notebook.addEventListener("busy", showEmpty);
    }
    notebook.open(record ?? freshNotebook());
    setMode("completion");
    sheet.focus();
  } catch {
    unreachable();
  }
}

function send(text, pictures) {
  isEarly = !isLaid;
  if (isEarly || chat.busy) return false;
  chat.send(text, pictures);
  return true;
}

function newChat() {
  desk.open(freshChat());
}

const showEmpty = () => ($(".welcome").hidden = inChat() ? chat.messages.length > 0 : Boolean(notebook.text));

// -- The conversation

chat.addEventListener("path", showEmpty);
chat.addEventListener("busy", () => {
  const stopHadFocus = document.activeElement === $(".stop");
  $(".stop").hidden = !chat.busy;
  $(".composer .submit").hidden = chat.busy;
  if (stopHadFocus) composer.focus();
  if (chat.busy) loadMarkdown().then(() => log.redraw());
});

$(".ideas").addEventListener("click", ({ target }) => {
  if (!target.matches("button") || !isLaid || chat.busy) return;
  chat.send(target.textContent);
  composer.focus();
});

// -- Buttons and keys

const ACTIONS = {
  new: newChat,
  stop: () => chat.stop(),
  bottom: () => log.toBottom(),
  history: () => openDrawer("history"),
  settings: () => openDrawer("settings"),
  monitor: () => openDrawer("monitor"),
  chat: newChat,
  completion: () => openNotebook(),
  attach: () => $(".composer input[type=file]").click(),
  key: askKey,
  close: (button) => button.closest("dialog").close(),
  undo: () => $(".toast:not([hidden]) button:not([hidden])")?.click(),
};

/** Alt and a letter; said in the buttons' titles. */
const KEYS = { KeyN: "new", KeyC: "history", KeyS: "settings", KeyM: "monitor", KeyZ: "undo" };

document.addEventListener("click", ({ target }) => {
  if (target.matches("dialog.drawer")) return target.close(); // the dimmed page around a drawer
  const button = target.closest("[data-action]");
  ACTIONS[button?.dataset.action]?.(button);
});
document.addEventListener("keydown", (event) => {
  const action = event.altKey && !event.ctrlKey && !event.metaKey && KEYS[event.code];
  if (action !== "undo" && $("dialog[open], :popover-open")) return;
  if (event.key === "Escape") current().stop();
  else if (action) ACTIONS[action]();
  else if (event.key === "ArrowUp" && inChat() && !composer.text && event.target.matches(".composer textarea"))
    log.newest("user")?.edit();
  else return;
  event.preventDefault();
});

const drawers = {};

/** A drawer's code is fetched when first opened: mount(dialog, parts) -> show(). */
async function openDrawer(name) {
  const dialog = $(`#${name}`);
  const part = await import(`./${name}.js`).catch(unreachable);
  if (!part) return;
  drawers[name] ??= part.mount(dialog, { desk, server, settings });
  drawers[name]();
  dialog.showModal();
}

// -- What the browser keeps; another tab may be at the same chat

async function changedElsewhere(id) {
  if (replies.get(id)) return part(id);
  if (id !== desk.current) return;
  const theirs = await chats.load(id);
  if (theirs && isAtRest(theirs) && id === desk.current && !current().busy) desk.open(theirs);
}

/** Two tabs at one chat would overwrite each other's. */
function part(id) {
  const isCurrent = id === desk.current;
  const copy = replies.part(id);
  if (isCurrent) last.set(copy);
  toast("Another tab has changed this chat: here it goes on as a copy.");
}

let isFull = false;
function full() {
  if (!isFull) toast("This browser keeps no more chats: its storage is full or switched off. Export what is to stay.");
  isFull = true;
}
chats.watch(changedElsewhere, full);
const isAtRest = ({ messages = [], leaf, reply = messages[leaf] }) => !reply || reply.role === "user" || reply.outcome;
function keep() {
  replies.keep();
  notebook?.keep();
  draft.set(composer.text);
}
addEventListener("pagehide", keep);
document.addEventListener("visibilitychange", keep); // a phone may end a hidden page without a word

// -- The server

const STATUS = {
  loading: ({ progress }) =>
    `The model is loading${progress === null ? "" : `: ${Math.round(100 * progress)} %`}. What you send now waits.`,
  offline: () => "No connection to the server. Trying again.",
  failed: ({ message }) => `The server has no model to answer with: ${message}`,
  locked: () => "This server asks for an API key.",
};

function showServer() {
  const { state, progress } = server;
  $(".status").hidden = !STATUS[state];
  $(".status").dataset.state = state;
  $(".status span").textContent = STATUS[state]?.(server) ?? "";
  $(".status progress").hidden = state !== "loading";
  if (progress !== null) $(".status progress").value = progress;
  $(".status button").hidden = state !== "locked";
  $(".model").textContent = server.model;
  $(".model").title = server.model;
  composer.sees = server.sees;
  if (state === "locked") askKey();
}

function askKey() {
  $("#key .problem").textContent = server.message;
  if (!$("dialog[open]")) $("#key").showModal();
}

$("#key form").addEventListener("submit", () => {
  const given = $("#key input").value.trim();
  $("#key input").value = "";
  key.set(given);
  server.useKey(given);
});
server.addEventListener("change", showServer);
server.check();

async function layKept() {
  const kept = await chats.load(last.get());
  if (kept?.messages?.length) await loadMarkdown(); // no flash of plain text
  if (isLaid) return; // the user was faster
  const early = isEarly;
  await desk.open(kept ?? freshChat());
  if (early && inChat()) composer.submit();
}

await layKept().finally(() => (isLaid = true));
if (!composer.text) composer.text = draft.get();
