// What we know of the server: is it there, has it loaded its model, does it want a key, what are its defaults.
// States: connecting -> ready, with loading | locked | offline | failed in between.  "change" is sent at every look.

import * as api from "./api.js";

const LOOK_AGAIN_MS = { loading: 400, offline: 2000, failed: 5000 };

export class Server extends EventTarget {
  state = "connecting";
  message = ""; // in words, for "failed" and "locked"
  progress = null; // of loading, 0..1, where the server tells
  props = {};
  #key;
  #look = 0; // a later look makes an earlier one stale
  #timer;

  constructor(key) {
    super();
    this.#key = key;
  }

  get key() {
    return this.#key;
  }

  useKey(key) {
    this.#key = key;
    return this.check();
  }

  /** The model's name: the operator's alias, or the file's name. */
  get model() {
    const { model_alias: alias, model_path: path = "" } = this.props;
    if (alias && alias !== path) return alias;
    return (
      path
        .split(/[\\/]/)
        .pop()
        .replace(/\.gguf$/i, "") || "llamatw"
    );
  }

  /** Whether it takes pictures. */
  get sees() {
    return this.props.modalities?.vision === true;
  }

  /** Tokens that the model holds; undefined: not known. */
  get contextSize() {
    return this.props.default_generation_settings?.n_ctx;
  }

  /** Look now, and again by itself until the server is ready or waits for a key. */
  async check() {
    const look = ++this.#look;
    clearTimeout(this.#timer);
    const found = await probe(this.#key);
    if (look !== this.#look) return;
    Object.assign(this, found);
    const pause = LOOK_AGAIN_MS[this.state];
    if (pause) this.#timer = setTimeout(() => this.check(), pause);
    this.dispatchEvent(new Event("change"));
  }

  /** Resolves when requests make sense; throws when the model cannot be had, or at the signal. */
  async ready(signal) {
    while (this.state !== "ready") {
      signal.throwIfAborted();
      if (this.state === "failed") throw new api.ApiError(this.message, 500);
      await this.#change(signal);
    }
  }

  /** After a refusal: true when it was our state that was old, so that ready() and a second try are the cure. */
  async refused(error) {
    if (!["connection", "key", "unavailable"].includes(error.kind)) return false;
    await this.check();
    return this.state === "loading" || this.state === "locked";
  }

  #change(signal) {
    return new Promise((resolve, reject) => {
      this.addEventListener("change", resolve, { once: true });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}

async function probe(key) {
  const nothing = { message: "", progress: null };
  try {
    await api.health();
    return { ...nothing, state: "ready", props: await api.props(key) };
  } catch (error) {
    if (error.kind === "connection") return { ...nothing, state: "offline" };
    if (error.kind === "key") return { ...nothing, state: "locked", message: key ? "That key was not accepted." : "" };
    if (isLoading(error)) return { ...nothing, state: "loading", progress: error.body.progress ?? null };
    return { ...nothing, state: "failed", message: error.message };
  }
}

const isLoading = (error) => error.status === 503 && error.body.status !== "error";
