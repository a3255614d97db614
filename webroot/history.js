// The drawer of kept chats, fetched when first opened: find, open, delete, take away as a file and bring back.

import * as chats from "./chats.js";
import { $, h, iconButton, toast } from "./dom.js";
import { pack, unpack } from "./files.js";
import { freshId, title as titleOf } from "./tree.js";

/** Fills the dialog; returns what brings it up to date.  desk: what opens a chat, {current, open(chat), fresh()}. */
export function mount(dialog, { desk }) {
  const search = h("input", {
    type: "search",
    placeholder: "Search all chats",
    "aria-label": "Search all chats",
    dir: "auto",
  });
  const list = h("ul");
  const found = h("p", { class: "offscreen", role: "status" });
  const file = h("input", {
    type: "file",
    accept: "application/json,.json",
    hidden: true,
    "aria-label": "A file of chats",
  });
  const take = h("button", { type: "button", onclick: async () => download(await chats.all(), "chats") }, "Export all");
  const bring = h("button", { type: "button", onclick: () => file.click() }, "Import");
  dialog.append(h("div", { class: "find" }, search), list, found, h("div", { class: "row" }, take, bring, file));
  search.addEventListener("input", show);
  file.addEventListener("change", () => importFile(file.files[0]).finally(() => (file.value = "")));

  let asked = 0;

  async function show() {
    const mine = ++asked;
    const words = search.value.trim().toLocaleLowerCase();
    const heads = words ? (await chats.all()).filter((chat) => holds(chat, words)).map(headOf) : await chats.list();
    if (mine !== asked) return; // another letter was typed meanwhile
    const none = words ? "Nothing found." : "No chats yet.";
    list.replaceChildren(...(heads.length ? heads.map(row) : [h("li", { class: "none" }, none)]));
    found.textContent = words ? `${heads.length} found` : "";
  }

  function row({ id, kind, title, changed }, at) {
    const current = id === desk.current ? "true" : null;
    const open = h(
      "button",
      { type: "button", class: "open", dir: "auto", "aria-current": current, onclick: () => openChat(id) },
      title,
    );
    const day = h("time", {}, dayOf(new Date(changed)));
    const mark = kind === "completion" ? h("span", { class: "kind" }, "text") : "";
    const save = iconButton("save", `Export “${title}”`, async () => download([await chats.load(id)], title));
    return h(
      "li",
      {},
      open,
      mark,
      day,
      save,
      iconButton("trash", `Delete “${title}”`, () => remove(id, at)),
    );
  }

  async function openChat(id) {
    dialog.close();
    if (id !== desk.current) desk.open((await chats.load(id)) ?? desk.fresh());
  }

  async function remove(id, at) {
    const kept = await chats.load(id);
    const isCurrent = id === desk.current;
    if (isCurrent) desk.open(desk.fresh());
    await chats.remove(id);
    await show();
    (list.children[Math.min(at, list.children.length - 1)].querySelector("button:last-child") ?? search).focus();
    toast("Chat deleted.", async () => {
      await chats.save(kept);
      if (isCurrent) desk.open(kept);
      show();
    });
  }

  async function importFile(given) {
    if (!given) return;
    try {
      const brought = await unpack(await given.text());
      let n = 0;
      for (const chat of brought) n += await bringIn(chat); // one after the other: two may have the same name
      toast(`${n} of ${brought.length} chats imported${n < brought.length ? "; the others are here already" : ""}.`);
    } catch (error) {
      toast(`That file cannot be imported: ${error.message}`);
    }
    show();
  }

  return () => {
    search.value = "";
    return show();
  };
}

function dayOf(date) {
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString(undefined, { day: "numeric", month: "short", year });
}

/** False where it is here already.  One that has changed since does not overwrite ours, nor the other way round. */
async function bringIn(chat) {
  const ours = await chats.load(chat.id);
  if (ours?.changed === chat.changed) return false;
  await chats.save(ours ? { ...chat, id: freshId() } : chat);
  return true;
}

const headOf = (chat) => ({ id: chat.id, kind: chat.kind, changed: chat.changed, title: titleOf(chat) });

function holds({ messages = [], text = "" }, words) {
  return (
    text.toLocaleLowerCase().includes(words) ||
    messages.some(({ content }) => content.toLocaleLowerCase().includes(words))
  );
}

async function download(kept, name) {
  const address = URL.createObjectURL(new Blob([await pack(kept)], { type: "application/json" }));
  const safe = name.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
  h("a", { href: address, download: `llamatw-${safe}-${new Date().toISOString().slice(0, 10)}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
