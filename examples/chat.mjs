#!/usr/bin/env node
// A conversation on the terminal, with the module that web pages use (webroot/completion.js).  Needs Node 18 or newer.
// End it with Ctrl-D.
//     node examples/chat.mjs [--grammar FILE | --grammar-json-schema FILE [--grammar-json-schema-prop-order a,b,c]]
//                            [--no-cache-prompt true]
// API_URL: the server, API_KEY: its key.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { llama } from "../webroot/completion.js";
import { SchemaConverter } from "../webroot/json-schema-to-grammar.mjs";

const { values: options } = parseArgs({
  options: {
    grammar: { type: "string" },
    "grammar-json-schema": { type: "string" },
    "grammar-json-schema-prop-order": { type: "string", default: "" },
    "no-cache-prompt": { type: "string", default: "false" },
  },
});
const api_url = new URL("/", process.env.API_URL ?? "http://127.0.0.1:8080").href;
const api_key = process.env.API_KEY;

const instruction =
  "A chat between a curious human and an assistant who answers helpfully, precisely and politely.";
const chat = [
  { human: "Hello, are you there?", assistant: "Hello! Yes, I am. What can I do for you?" },
  {
    human: "Which city of Europe has the most inhabitants?",
    assistant: "Istanbul, with about fifteen million, if its Asian side counts. Otherwise Moscow.",
  },
];

function grammar() {
  if (options.grammar) return readFileSync(options.grammar, "utf8");
  if (!options["grammar-json-schema"]) return undefined;
  const names = options["grammar-json-schema-prop-order"].split(",").filter(Boolean);
  const converter = new SchemaConverter(Object.fromEntries(names.map((name, place) => [name, place])));
  converter.visit(JSON.parse(readFileSync(options["grammar-json-schema"], "utf8")), "");
  return converter.formatGrammar();
}

async function countTokens(content) {
  const headers = { "Content-Type": "application/json", ...(api_key && { Authorization: `Bearer ${api_key}` }) };
  const request = { method: "POST", headers, body: JSON.stringify({ content }) };
  const response = await fetch(new URL("tokenize", api_url), request);
  const { tokens, error } = await response.json();
  if (error) throw new Error(error.message);
  return tokens.length;
}

function giveUp({ message, cause }) {
  console.error(`error: ${api_url}: ${cause?.message || message}`);
  process.exit(1);
}

function prompt(question) {
  const turns = [...chat, { human: question, assistant: "" }];
  const lines = turns.map(({ human, assistant }) => `### Human: ${human}\n### Assistant: ${assistant}`);
  return `${instruction}\n${lines.join("\n").trimEnd()}`;
}

const params = {
  api_key,
  grammar: grammar(),
  n_keep: await countTokens(instruction).catch(giveUp), // the instruction stays when the context is full
  cache_prompt: options["no-cache-prompt"] === "false",
  slot_id: -1,
  temperature: 0.2,
  top_k: 40,
  top_p: 0.9,
  n_predict: 256,
  stop: ["\n### Human:"],
};

async function answer(question) {
  let content = "";
  for await (const { data } of llama(prompt(question), params, { api_url })) {
    process.stdout.write(data.content);
    content += data.content;
    params.slot_id = data.slot_id ?? params.slot_id;
    if (data.truncated) chat.shift();
  }
  process.stdout.write("\n");
  chat.push({ human: question, assistant: content.trim() });
}

const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
terminal.prompt();
for await (const question of terminal) {
  await answer(question).catch(() => {}); // llama() has told why
  terminal.prompt();
}
