// The replies being made, at most one for each chat or text, whether it is on screen or not.  What they belong to is
// kept in the browser while they grow.

import * as chats from "./chats.js";
import { generate } from "./generate.js";
import { freshId } from "./tree.js";

const SAVE_EVERY_MS = 500;
const MOST = 4; // at once: a browser opens six connections to a server, and the page needs some itself

export class Replies {
  #server;
  #running = new Map(); // id of the record -> {record, reply, abort, saved}

  constructor(server) {
    this.#server = server;
  }

  /** The chat or text with this id, as it is now; undefined where no reply to it is being made. */
  get(id) {
    return this.#running.get(id)?.record;
  }

  /** Resolves when the reply has ended.  request(reply): as of generate(); grown(): called before each time it is kept.
   *  Where there are too many, the oldest ends. */
  async make(record, request, reply, grown) {
    if (this.#running.size === MOST) this.end(this.#running.keys().next().value);
    const one = { record, reply, abort: new AbortController() };
    this.#running.set(record.id, one);
    keep(one);
    const change = () => {
      if (this.#running.get(record.id) !== one) return;
      grown();
      if (performance.now() - one.saved > SAVE_EVERY_MS) keep(one);
    };
    await generate(this.#server, request, reply, { signal: one.abort.signal, grown: change });
    if (this.#running.get(record.id) !== one) return;
    this.#running.delete(record.id);
    grown();
    keep(one);
  }

  stop(id) {
    this.#running.get(id)?.abort.abort();
  }

  /** Stops at once: nothing is heard of that reply any more. */
  end(id) {
    const one = this.#running.get(id);
    if (!one) return;
    this.#running.delete(id);
    one.reply.outcome = "stopped";
    one.abort.abort();
    keep(one);
  }

  /** What somebody else has written to goes on under an id of its own, which it returns. */
  part(id) {
    const one = this.#running.get(id);
    this.#running.delete(id);
    one.record.id = freshId();
    this.#running.set(one.record.id, one);
    keep(one);
    return one.record.id;
  }

  /** All that has arrived so far; the page may be going away. */
  keep() {
    for (const one of this.#running.values()) keep(one);
  }
}

function keep(one) {
  one.saved = performance.now();
  chats.touch(one.record);
}
