// The page's start: makes the parts, joins them, and owns what belongs to none of them: buttons, keys, the status line.

import { Chat } from "./chat.js";
import { $, toast } from "./dom.js";
import { Log } from "./log.js";
import { Server } from "./server.js";
import { Settings, chats, key } from "./store.js";

// No flash of plain text.  Before anything listens: what is sent must find its chat open.
const last = chats.last() ?? chats.fresh();
if (last.messages.length > 0) await import("./markdown.js").catch(() => {});

const settings = new Settings();
const server = new Server(key.get());
const chat = new Chat(server, { parameters: () => settings.parameters(), system: () => settings.get("system") ?? "" });
const log = new Log(chat, { again: () => chat.again(), edit: takeBack, fresh: newChat });
const input = $(".composer textarea");

// -- Composer

function submit() {
  const text = input.value.trim();
  if (!text || chat.busy) return;
  type("");
  chat.send(text);
}

/** Put text into the composer and fit its height. */
function type(text) {
  input.value = text;
  fit();
  input.focus();
}

function fit() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
}

/** The question comes back before what has been written meanwhile. */
function takeBack() {
  type([chat.takeBack(), input.value].filter(Boolean).join("\n\n"));
}

function newChat() {
  chat.open(chats.fresh());
  input.focus();
}

$(".composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
input.addEventListener("input", fit);
input.addEventListener("keydown", (event) => {
  const composing = event.isComposing || event.keyCode === 229; // an input method is still choosing the word
  if (event.key !== "Enter" || event.shiftKey || composing) return;
  event.preventDefault();
  submit();
});
$(".ideas").addEventListener("click", ({ target }) => {
  if (target.matches("button") && !chat.busy) chat.send(target.textContent);
});
chat.addEventListener("busy", () => {
  const stopHadFocus = document.activeElement === $(".stop");
  $(".stop").hidden = !chat.busy;
  $(".send").hidden = chat.busy;
  if (stopHadFocus) input.focus();
});

// -- Buttons and keys

const ACTIONS = {
  new: newChat,
  stop: () => chat.stop(),
  bottom: () => log.toBottom(),
  history: () => openDrawer("history"),
  settings: () => openDrawer("settings"),
  key: askKey,
  close: (button) => button.closest("dialog").close(),
};

document.addEventListener("click", ({ target }) => {
  if (target.matches("dialog.drawer")) return target.close(); // the dimmed page around a drawer
  const button = target.closest("[data-action]");
  ACTIONS[button?.dataset.action]?.(button);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("dialog[open]")) chat.stop();
});

const drawers = {};

/** A drawer's code, history.js or settings.js, is fetched when first opened: mount(dialog, parts) -> show(). */
async function openDrawer(name) {
  const dialog = $(`#${name}`);
  try {
    drawers[name] ??= (await import(`./${name}.js`)).mount(dialog, { chat, server, settings });
  } catch {
    return toast("The server does not answer: this part of the page could not be loaded.");
  }
  drawers[name]();
  dialog.showModal();
}

// -- What the browser keeps; another tab may be at the same chat

chat.addEventListener("unsaved", () => toast("This browser keeps no more: its storage is full or switched off."));
chats.watch((id) => {
  const theirs = chats.load(id);
  if (id === chat.id && !chat.busy && theirs.messages.at(-1)?.outcome) chat.open(theirs);
});
addEventListener("pagehide", () => chat.keep());

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

chat.open(last);
server.check();
