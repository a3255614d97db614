// The conversation on screen: what was said, and the reply being made.  No DOM here; the page listens to
// "open" (another chat), "message" (one is new or has grown, .detail), "drop" (one is gone, .detail),
// "busy" (a reply starts or ends), "unsaved" (the browser keeps no more).
// A reply ends with an outcome: stop | length | stopped | interrupted | error (then .error is {kind, text}).

import * as api from "./api.js";
import { chats } from "./store.js";

const SAVE_EVERY_MS = 1000;

export class Chat extends EventTarget {
  #chat = chats.fresh();
  #abort = null; // of the reply being made
  #saved = 0;

  /** parameters(): what the reader has set, as request fields; system(): the system prompt or "". */
  constructor(server, { parameters, system }) {
    super();
    this.server = server;
    this.parameters = parameters;
    this.system = system;
  }

  get id() {
    return this.#chat.id;
  }

  get messages() {
    return this.#chat.messages;
  }

  get busy() {
    return this.#abort !== null;
  }

  open(chat) {
    if (this.busy) this.#leave();
    this.#chat = chat;
    for (const message of chat.messages) if (message.role === "assistant") message.outcome ??= "interrupted";
    chats.remember(chat.id);
    this.#tell("open");
    this.#tell("busy");
  }

  send(text) {
    const message = { role: "user", content: text };
    this.messages.push(message);
    this.#tell("message", message);
    return this.#answer();
  }

  /** Another reply in place of the last one. */
  again() {
    if (this.messages.at(-1)?.role === "assistant") this.#drop();
    return this.#answer();
  }

  /** Take back a question that got no reply; returns its text. */
  takeBack() {
    this.#drop();
    const question = this.#drop();
    this.#save(this.#chat);
    return question.content;
  }

  stop() {
    this.#abort?.abort();
  }

  /** Keep what has arrived so far; the page is going away. */
  keep() {
    if (this.busy) this.#save(this.#chat);
  }

  /** The reply being made ends here, in its own chat and out of sight. */
  #leave() {
    this.messages.at(-1).outcome = "stopped";
    this.#save(this.#chat);
    this.stop();
    this.#abort = null;
  }

  #drop() {
    const message = this.messages.pop();
    this.#tell("drop", message);
    return message;
  }

  async #answer() {
    const abort = (this.#abort = new AbortController());
    const chat = this.#chat;
    const reply = { role: "assistant", content: "" };
    const body = { ...this.parameters(), messages: conversation(this.system(), chat.messages) };
    chat.messages.push(reply);
    this.#save(chat);
    this.#tell("busy");
    this.#tell("message", reply);
    try {
      await this.#request(body, reply, chat, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted && !(error instanceof api.ApiError)) throw error;
      Object.assign(reply, abort.signal.aborted ? { outcome: "stopped" } : failure(error));
    } finally {
      if (this.#abort === abort) this.#finish(chat, reply);
    }
  }

  #finish(chat, reply) {
    this.#abort = null;
    this.#save(chat);
    this.#tell("message", reply);
    this.#tell("busy");
  }

  /** Wait for the server and send; once more if it turned out to be loading or to want a key. */
  async #request(body, reply, chat, signal) {
    for (;;) {
      await this.server.ready(signal);
      try {
        return await this.#receive(body, reply, chat, signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof api.ApiError)) throw error;
        const stale = await this.server.refused(error);
        if (!stale || reply.content) throw error;
      }
    }
  }

  async #receive(body, reply, chat, signal) {
    const clock = { sent: performance.now(), first: 0 };
    const seen = {};
    for await (const chunk of api.chat(body, this.server.key, signal)) {
      if (chunk.usage) seen.usage = chunk.usage;
      if (chunk.timings) seen.timings = chunk.timings;
      const choice = chunk.choices?.[0];
      if (choice?.finish_reason) reply.outcome = choice.finish_reason;
      if (!choice?.delta?.content) continue;
      clock.first ||= performance.now();
      reply.content += choice.delta.content;
      if (performance.now() - this.#saved > SAVE_EVERY_MS) this.#save(chat);
      this.#tell("message", reply);
    }
    reply.outcome ??= "stop";
    reply.stats = statistics(seen, clock);
  }

  #save(chat) {
    this.#saved = performance.now();
    chat.changed = Date.now();
    if (!chats.save(chat)) this.#tell("unsaved");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Messages as the server wants them.  Replies without text are left out and neighbours of one role joined:
 *  many chat templates insist on user and assistant taking turns. */
export function conversation(system, messages) {
  const turns = system ? [{ role: "system", content: system }] : [];
  for (const { role, content } of messages) {
    if (!content) continue;
    if (turns.at(-1)?.role === role) turns.at(-1).content += `\n\n${content}`;
    else turns.push({ role, content });
  }
  return turns;
}

/** The server's own count and pace where it tells them, else what we saw on the clock. */
function statistics({ usage = {}, timings = {} }, clock) {
  const tokens = usage.completion_tokens ?? timings.predicted_n ?? null;
  const seconds = clock.first ? (performance.now() - clock.first) / 1000 : 0;
  return {
    tokens,
    perSecond: timings.predicted_per_second ?? (tokens > 1 && seconds ? (tokens - 1) / seconds : null),
    prompt: usage.prompt_tokens ?? null,
    cached: usage.prompt_tokens_details?.cached_tokens ?? timings.cache_n ?? 0,
    firstMs: clock.first ? Math.round(clock.first - clock.sent) : null,
  };
}

function failure(error) {
  const { n_prompt_tokens: need, n_ctx: have } = error.body.error ?? {};
  const words = {
    connection: "The connection to the server was lost.",
    key: "The server did not accept the API key.",
    busy: "The server is busy. Try again in a moment.",
    context:
      `This chat has grown too long for the model: ${need ?? "too many"} tokens, and it holds ${have ?? "fewer"}. ` +
      "Start a new chat, or shorten the message.",
  };
  return { outcome: "error", error: { kind: error.kind, text: words[error.kind] ?? error.message } };
}
