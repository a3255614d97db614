// One reply being made, whatever it is for: waits for the server, receives, goes on where a connection broke off.
// The reply grows in place: {content, outcome, error, stats, probs, progress, resumed}.
// It ends with an outcome: stop | length | stopped | error (then .error is {kind, text}).

import * as api from "./api.js";

const MAX_RESUMED = 5;
const LONG_PROMPT = 200; // tokens to read: from there on progress is told

/** request(reply): what to send, given what the reply has already.  grown(): called with every change of it. */
export async function generate(server, request, reply, { signal, grown }) {
  try {
    await keepTrying(server, request, reply, signal, grown);
  } catch (error) {
    if (!signal.aborted && !(error instanceof api.ApiError)) throw error;
    Object.assign(reply, signal.aborted ? { outcome: "stopped" } : failure(error));
  } finally {
    delete reply.progress;
  }
}

/** Once more if the server turned out to be loading or to want a key, and where a reply that had begun was cut off. */
async function keepTrying(server, request, reply, signal, grown) {
  const made = () => reply.stats?.tokens ?? 0;
  const first = made();
  for (;;) {
    await server.ready(signal);
    const before = reply.content.length;
    const rest = within(await request(reply), made() - first);
    if (!rest) return (reply.outcome = "length");
    try {
      return await receive(rest, reply, server.key, signal, grown);
    } catch (error) {
      if (signal.aborted || !(error instanceof api.ApiError)) throw error;
      const isStale = await server.refused(error);
      const isCut = error.kind === "connection" && reply.content.length > before;
      if (isCut && (reply.resumed ?? 0) < MAX_RESUMED) reply.resumed = (reply.resumed ?? 0) + 1;
      else if (!isStale || reply.content.length > before) throw error;
    }
  }
}

/** The request less the tokens that it has had already; null when there is nothing left to ask for. */
function within(request, n) {
  const { max_tokens: most } = request.body;
  if (!(most > 0)) return request;
  return most > n ? { ...request, body: { ...request.body, max_tokens: most - n } } : null;
}

async function receive(request, reply, key, signal, grown) {
  const count = counter(reply.stats);
  for await (const part of api.generate(request, key, signal)) {
    if (part.outcome) reply.outcome = part.outcome;
    if (part.text) reply.content += part.text;
    if (part.probs.length > 0) (reply.probs ??= []).push(...part.probs.map(slim));
    if (part.progress) reply.progress = isLong(part.progress) ? part.progress : undefined;
    if (part.text) reply.progress = undefined;
    reply.stats = count(part);
    grown();
  }
  reply.outcome ??= "stop";
}

const isLong = ({ total, cache, processed }) => total - cache > LONG_PROMPT && processed < total;

/** Of a token's entry, what the page shows: its text and logarithm, and those of its alternatives. */
function slim({ token, bytes, logprob, prob, top_logprobs: top = [], top_probs: after }) {
  const chance = (one) => one.prob ?? Math.exp(one.logprob);
  return {
    token,
    bytes,
    prob: prob ?? Math.exp(logprob),
    top: (after ?? top).map((one) => [one.token, chance(one)]),
  };
}

/** The server's own count and pace where it tells them, else what the clock here saw.  before: of the part that the
 *  reply had already. */
function counter(before) {
  const sent = performance.now();
  const stats = { tokens: 0, perSecond: null, prompt: null, cached: 0, firstMs: null };
  let usage = {};
  return (part) => {
    if (part.text) stats.firstMs ??= Math.round(performance.now() - sent);
    usage = part.usage ?? usage;
    const { prompt_n: read, cache_n: cached, predicted_n: made, predicted_per_second: pace } = part.timings ?? {};
    if (read !== undefined) Object.assign(stats, { prompt: read + cached, cached });
    stats.prompt = usage.prompt_tokens ?? stats.prompt;
    stats.tokens = usage.completion_tokens ?? made ?? stats.tokens + (part.timings || !part.text ? 0 : 1);
    stats.perSecond = pace || stats.perSecond;
    return {
      ...stats,
      tokens: stats.tokens + (before?.tokens ?? 0),
      firstMs: before?.firstMs ?? stats.firstMs,
      used: (stats.prompt ?? 0) + stats.tokens,
    };
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
