// HTTP to our own server: JSON calls, the event streams of replies, and one error for all that can go wrong.
// Addresses are relative, so that the page also works below a path of a reverse proxy.

export class ApiError extends Error {
  /** status 0: no answer, or one that broke off.  body: what the server sent, as a rule {error: {message, type}}. */
  constructor(message, status = 0, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }

  /** What the reader can do about it: "connection" | "key" | "context" | "unavailable" | "busy" | "off" | "server". */
  get kind() {
    if (this.body.error?.type === "exceed_context_size_error") return "context";
    return (
      { 0: "connection", 401: "key", 403: "key", 429: "busy", 501: "off", 503: "unavailable" }[this.status] ?? "server"
    );
  }
}

export const health = () => getJson("health");
export const props = (key) => getJson("props", key);
export const slots = (key) => getJson("slots", key);
export const metrics = async (key) => (await send("metrics", {}, key)).text();

/** How many tokens a request for generate() makes the model read. */
export async function count({ route, body }, key) {
  if (route === "completion") return (await postJson("tokenize", { content: body.prompt }, key)).tokens.length;
  return (await postJson("v1/chat/completions/input_tokens", { messages: body.messages }, key)).input_tokens;
}

// The two ways to ask for text.  read(chunk) -> what both come to: {text, probs, progress, timings, usage, outcome}.
const ROUTES = {
  chat: { path: "v1/chat/completions", more: { stream_options: { include_usage: true } }, read: readChat },
  completion: { path: "completion", more: {}, read: readNative },
};

/** POST a request; yields every part of the reply.  Returns only at its end: a stream that just stops was lost. */
export async function* generate({ route, body }, key, signal) {
  const { path, more, read } = ROUTES[route];
  const request = { ...body, stream: true, return_progress: true, timings_per_token: true, ...more };
  const response = await send(path, { method: "POST", body: JSON.stringify(request), signal }, key);
  const joined = thoughtsIn();
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = parse(data);
    if (chunk.error)
      throw new ApiError(chunk.error.message ?? "The server reported an error.", chunk.error.code ?? 500, chunk);
    yield joined(read(chunk));
    if (chunk.stop === true) return; // the last event of the native route
  }
  throw new ApiError("The connection ended before the reply did.");
}

function readChat({ choices = [], usage, timings, prompt_progress: progress }) {
  const [choice = {}] = choices;
  return {
    text: choice.delta?.content ?? "",
    thought: choice.delta?.reasoning_content ?? "",
    probs: choice.logprobs?.content ?? [],
    outcome: choice.finish_reason ?? null,
    usage,
    timings,
    progress,
  };
}

function readNative({ content = "", completion_probabilities: probs = [], stop, stop_type: type, ...rest }) {
  return {
    text: content,
    probs,
    outcome: stop ? (type === "limit" ? "length" : "stop") : null,
    timings: rest.timings,
    progress: rest.prompt_progress,
  };
}

/** Thoughts that the server tells apart go into the text as models write them. */
function thoughtsIn() {
  let isThinking = false;
  return ({ thought = "", ...part }) => {
    const opens = thought && !isThinking ? "<think>" : "";
    const closes = part.text && (isThinking || thought) ? "</think>\n\n" : "";
    if (thought || part.text) isThinking = !part.text;
    return { ...part, text: opens + thought + closes + part.text };
  };
}

/** The data of each server-sent event in a byte stream.  Comments (keep-alive) and other fields are skipped. */
export async function* events(stream) {
  let data = [];
  for await (const line of lines(stream)) {
    if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
    if (line !== "" || data.length === 0) continue;
    yield data.join("\n");
    data = [];
  }
}

/** Whole lines, ended by LF or CRLF wherever the network cut them; characters are decoded across the cuts too. */
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(lost);
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function getJson(path, key) {
  return (await send(path, {}, key)).json();
}

async function postJson(path, body, key) {
  return (await send(path, { method: "POST", body: JSON.stringify(body) }, key)).json();
}

async function send(path, options, key) {
  const headers = { Accept: "application/json, text/event-stream" };
  if (options.body) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" }).catch(lost);
  if (response.ok) return response;
  const body = parse(await response.text().catch(() => ""));
  throw new ApiError(body.error?.message ?? `The server answered ${response.status}.`, response.status, body);
}

/** A failed fetch or read: the reader's own stop passes through, the rest is a lost connection. */
function lost(error) {
  if (error.name === "AbortError") throw error;
  throw new ApiError("The connection to the server was lost.");
}

/** An object, whatever the text: a proxy in between may answer with a page of HTML. */
function parse(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
