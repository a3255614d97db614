// The drawer of kept chats, fetched when first opened: open one, delete one.

import { $, h, iconButton, toast } from "./dom.js";
import { chats } from "./store.js";

/** Fills the dialog; returns what brings it up to date. */
export function mount(dialog, { chat }) {
  const show = () => {
    const rows = chats.list().map(row);
    $("ul", dialog).replaceChildren(...(rows.length ? rows : [h("li", { class: "none" }, "No chats yet.")]));
  };

  function row(kept) {
    const current = kept.id === chat.id ? "true" : null;
    const title = h(
      "button",
      { class: "open", dir: "auto", "aria-current": current, onclick: () => open(kept.id) },
      chats.title(kept),
    );
    const day = h("time", {}, new Date(kept.changed).toLocaleDateString(undefined, { day: "numeric", month: "short" }));
    return h(
      "li",
      {},
      title,
      day,
      iconButton("trash", "Delete this chat", () => remove(kept)),
    );
  }

  function open(id) {
    dialog.close();
    if (id !== chat.id) chat.open(chats.load(id) ?? chats.fresh());
  }

  function remove(kept) {
    if (kept.id === chat.id) chat.open(chats.fresh());
    chats.remove(kept.id);
    dialog.close();
    toast("Chat deleted.", () => {
      chats.save(kept);
      if (chat.messages.length === 0) chat.open(kept);
    });
  }

  return show;
}
