// The server's /completion for web pages, with several ways to wait for the text.  The module stands alone: a page
// under --path, one of another origin (--cors-origins) or Node may import it.  It talks to the server it came from.
//
//     import { llama } from "/completion.js";
//     for await (const chunk of llama("Tell me a joke", { n_predict: 800 })) document.write(chunk.data.content);
//
// prompt: a text, or whatever else `prompt` of POST /completion may be.
// params: other fields of that request; api_key is sent as a header instead.
// config: { controller, api_url }: an AbortController that stops the request; the server's address, ending with "/".

const DEFAULTS = { stream: true, n_predict: 500, temperature: 0.2, stop: ["</s>"] };
const SERVER = new URL(".", import.meta.url).href;

let generationSettings = null; // of the last completion that has ended

/**
 * Yields { value, done, data } for each event: data is the parsed event, value the bytes that completed it.  Returns
 * the whole text.  Throws what the server refuses (an Error with the HTTP status as `status`) or reports in mid-stream, a
 * lost connection, and the AbortError of a controller.  Leaving the loop stops the request.
 */
export async function* llama(prompt, params = {}, config = {}) {
  const controller = config.controller ?? new AbortController();
  let content = "";
  try {
    const { api_key, ...fields } = { ...DEFAULTS, ...params, prompt };
    const body = JSON.stringify(fields);
    const response = await send("completion", { method: "POST", body, signal: controller.signal }, api_key, config);
    for await (const { value, field, text } of received(response)) {
      const data = field === "data" || field === "error" ? JSON.parse(text) : null;
      if (data === null) continue;
      if (field === "error" || data.error) throw reported(data.error ?? data);
      content += data.content ?? "";
      yield { value, done: false, data };
      if (data.stop) generationSettings = data.generation_settings ?? generationSettings; // the stream ends by itself
    }
    return content;
  } catch (error) {
    if (error.name !== "AbortError") console.error("llama:", error);
    throw error;
  } finally {
    controller.abort();
  }
}

/**
 * Returns at once an EventTarget of CustomEvents: "message" for each event (detail: its data), with the last one
 * "generation_settings" and "timings", then "done" ({ content }); or "error" (detail: what llama() throws).
 */
export function llamaEventTarget(prompt, params = {}, config = {}) {
  const target = new EventTarget();
  const tell = (type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));
  (async () => {
    let content = "";
    for await (const { data } of llama(prompt, params, config)) {
      content += data.content ?? "";
      tell("message", data);
      if (data.generation_settings) tell("generation_settings", data.generation_settings);
      if (data.timings) tell("timings", data.timings);
    }
    tell("done", { content });
  })().catch((error) => tell("error", error));
  return target;
}

/** Resolves to the whole text. */
export async function llamaPromise(prompt, params = {}, config = {}) {
  let content = "";
  for await (const { data } of llama(prompt, params, config)) content += data.content ?? "";
  return content;
}

/** Calls callback(chunk) for each chunk of llama().  Kept for old pages: use llama(). */
export async function llamaComplete(params, controller, callback) {
  for await (const chunk of llama(params.prompt, params, { controller })) callback(chunk);
}

/** The settings of the last completion that has ended; before the first one, the server's defaults (GET /props). */
export async function llamaModelInfo({ api_key, ...config } = {}) {
  if (!generationSettings) {
    const props = await (await send("props", {}, api_key, config)).json();
    generationSettings = props.default_generation_settings;
  }
  return generationSettings;
}

async function send(path, options, key, { api_url = SERVER }) {
  const headers = { Accept: "text/event-stream, application/json" };
  if (options.body) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(new URL(path, api_url), { ...options, headers });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw reported(error ?? { message: `${response.status} ${response.statusText}` }, response.status);
}

/** The error that the server describes; old pages look for "slot unavailable". */
function reported(body, status) {
  const message = body.message ?? body.content ?? JSON.stringify(body);
  return Object.assign(new Error(message.includes("slot unavailable") ? "slot unavailable" : message), { status });
}

/** The lines "field: text" of an event stream, wherever the network cut it; an answer of one piece as a single one. */
async function* received(response) {
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    const value = new Uint8Array(await response.arrayBuffer());
    yield { value, field: "data", text: new TextDecoder().decode(value) };
    return;
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const [, field, text] = /^(\w+): ?(.*?)\r?$/.exec(line) ?? [];
      if (field) yield { value, field, text };
    }
  }
}
