// Chats and completions that this browser keeps, in IndexedDB: "chats" has them whole, "heads" what a list shows.
// Where the browser keeps no more, they last as long as the page.  Other tabs are told of each change.

import { title } from "./tree.js";

const channel = new BroadcastChannel("llamatw.chats");
const memory = new Map(); // what the database has refused: newer than what it holds
let refused = () => {};

const database = new Promise((resolve) => {
  try {
    const request = indexedDB.open("llamatw", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("chats", { keyPath: "id" });
      request.result.createObjectStore("heads", { keyPath: "id" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  } catch {
    resolve(null);
  }
});

/** One transaction over both stores; work(chats, heads) may return a request, whose result it comes to. */
async function transact(mode, work) {
  const db = await database;
  if (!db) throw new DOMException("no database", "InvalidStateError");
  const transaction = db.transaction(["chats", "heads"], mode, { durability: "relaxed" });
  const request = work(transaction.objectStore("chats"), transaction.objectStore("heads"));
  if (mode === "readwrite") transaction.commit(); // else it would be lost when the page goes away
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
  return request?.result;
}

const isEmpty = ({ kind, messages, text }) => (kind === "completion" ? !text : messages.length === 0);

/** What a list shows of a chat. */
export const head = (chat) => ({ id: chat.id, kind: chat.kind, changed: chat.changed, title: title(chat) });

/** False when the browser refuses: switched off, or full.  An empty chat is not worth keeping. */
export async function save(chat) {
  if (isEmpty(chat)) return remove(chat.id);
  try {
    await transact("readwrite", (chats, heads) => {
      chats.put(chat);
      heads.put(head(chat));
    });
    memory.delete(chat.id);
    channel.postMessage(chat.id);
    return true;
  } catch {
    memory.set(chat.id, chat);
    refused();
    return false;
  }
}

/** Saves one that has just been changed. */
export function touch(chat) {
  chat.changed = Date.now();
  return save(chat);
}

export async function remove(id) {
  memory.delete(id);
  return transact("readwrite", (chats, heads) => {
    chats.delete(id);
    heads.delete(id);
  }).then(
    () => true,
    () => false,
  );
}

/** The chat, or null. */
export async function load(id) {
  if (!id || memory.has(id)) return memory.get(id) ?? null;
  return (await transact("readonly", (chats) => chats.get(id)).catch(() => null)) ?? null;
}

export async function all() {
  const kept = await transact("readonly", (chats) => chats.getAll()).catch(() => []);
  return newestFirst(kept, [...memory.values()]);
}

/** {id, kind, changed, title}, newest first. */
export async function list() {
  const kept = await transact("readonly", (_, heads) => heads.getAll()).catch(() => []);
  return newestFirst(kept, [...memory.values()].map(head));
}

/** changed(id): another tab has saved a chat; full(): the browser keeps no more. */
export function watch(changed, full) {
  channel.addEventListener("message", ({ data }) => changed(data));
  refused = full;
}

function newestFirst(kept, newer) {
  const others = kept.filter(({ id }) => !memory.has(id));
  return [...others, ...newer].sort((a, b) => b.changed - a.changed);
}
