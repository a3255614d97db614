// The small things that this browser keeps (localStorage): changed settings, presets of them, the API key, which chat
// was shown last.  Without storage, everything lasts as long as the page.

const PREFIX = "llamatw.";

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null; // no storage, or not our JSON
  }
}

function write(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // switched off or full: it lasts as long as the page
  }
}

/** Values the reader has set; what is not here is the server's business.  Names that begin with "page." are the page's
 *  own, all others are fields of a request. */
export class Settings {
  #values = Object(read("settings"));
  #presets = new Map(Object.entries(Object(read("presets"))));

  get(name) {
    return this.#values[name];
  }

  /** undefined gives the value back to the server. */
  set(name, value) {
    if (value === undefined) delete this.#values[name];
    else this.#values[name] = value;
    write("settings", this.#values);
  }

  /** The fields of a request among them. */
  parameters() {
    return Object.fromEntries(Object.entries(this.#values).filter(([name]) => !name.startsWith("page.")));
  }

  /** Everything, to be put back by replace(). */
  get values() {
    return { ...this.#values };
  }

  replace(values) {
    this.#values = { ...values };
    write("settings", Object.keys(values).length ? values : undefined);
  }

  get presets() {
    return [...this.#presets.keys()].sort((a, b) => a.localeCompare(b));
  }

  preset(name) {
    return this.#presets.get(name);
  }

  /** undefined: forget it. */
  keepPreset(name, values) {
    if (values === undefined) this.#presets.delete(name);
    else this.#presets.set(name, values);
    write("presets", Object.fromEntries(this.#presets));
  }
}

export const key = {
  get: () => read("key") ?? "",
  set: (value) => write("key", value || undefined),
};

/** What a tab keeps for itself when it is loaded again. */
const ofTab = {
  get(name) {
    try {
      return sessionStorage.getItem(PREFIX + name);
    } catch {
      return null;
    }
  },

  set(name, value) {
    try {
      sessionStorage.setItem(PREFIX + name, value);
    } catch {
      // no storage: nothing to come back to
    }
  },
};

/** The chat that was shown last in this tab, or in any. */
export const last = {
  get: () => ofTab.get("chat") ?? read("last"),
  set(id) {
    write("last", id);
    ofTab.set("chat", id);
  },
};

/** A message that was being written. */
export const draft = {
  get: () => ofTab.get("draft") ?? "",
  set: (text) => ofTab.set("draft", text),
};
