// What this browser keeps (localStorage): changed settings, the API key, one record per chat.
// A chat is {id, changed, messages: [{role, content, ...}]}.  Without storage, everything lasts as long as the page.

const PREFIX = "llamatw.";

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null; // no storage, or not our JSON
  }
}

/** False when the browser refuses: switched off, or full. */
function write(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Values the reader has set; what is not here is the server's business. */
export class Settings {
  #values = Object(read("settings"));

  get(name) {
    return this.#values[name];
  }

  /** undefined gives the value back to the server. */
  set(name, value) {
    if (value === undefined) delete this.#values[name];
    else this.#values[name] = value;
    write("settings", this.#values);
  }

  /** The sampling wishes among them, as request fields. */
  parameters() {
    const { system, ...fields } = this.#values;
    return fields;
  }

  clear() {
    this.#values = {};
    write("settings", undefined);
  }
}

export const key = {
  get: () => read("key") ?? "",
  set: (value) => write("key", value || undefined),
};

export const chats = {
  fresh: () => ({ id: crypto.getRandomValues(new Uint32Array(2)).join("-"), changed: Date.now(), messages: [] }),

  /** The one shown last in this tab, or in any. */
  last() {
    let id = null;
    try {
      id = sessionStorage.getItem(PREFIX + "chat");
    } catch {
      // no storage: no last chat
    }
    return chats.load(id ?? read("last"));
  },

  remember(id) {
    write("last", id);
    try {
      sessionStorage.setItem(PREFIX + "chat", id);
    } catch {
      // no storage: nothing to come back to
    }
  },

  load(id) {
    const chat = read(`chat.${id}`);
    return chat?.id === id && Array.isArray(chat.messages) ? chat : null;
  },

  /** An empty chat is not worth keeping. */
  save: (chat) => write(`chat.${chat.id}`, chat.messages.length > 0 ? chat : undefined),
  remove: (id) => write(`chat.${id}`, undefined),

  /** Newest first. */
  list() {
    try {
      const ids = Object.keys(localStorage).filter((name) => name.startsWith(`${PREFIX}chat.`));
      const all = ids.map((name) => chats.load(name.slice(PREFIX.length + 5)));
      return all.filter(Boolean).sort((a, b) => b.changed - a.changed);
    } catch {
      return [];
    }
  },

  /** Calls back when another tab has changed this chat. */
  watch(callback) {
    addEventListener("storage", (event) => {
      if (event.key?.startsWith(`${PREFIX}chat.`) && event.newValue) callback(event.key.slice(PREFIX.length + 5));
    });
  },

  title: (chat) =>
    chat.messages
      .find((message) => message.role === "user")
      ?.content.trim()
      .slice(0, 80) || "New chat",
};
