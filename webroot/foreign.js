// Chats that llama.cpp's own page exports: {conv, messages}, or a list of these.  A message has an id, and its parent's.

/** Chats as they stand in our files, still to be checked; null where a file is not of that kind. */
export function fromLlamaCpp(file) {
  const list = Array.isArray(file) ? file : [file];
  const isTheirs = list.length > 0 && list.every((one) => one?.conv && Array.isArray(one.messages));
  return isTheirs ? list.map(chatOf) : null;
}

function chatOf({ conv, messages }) {
  const known = messages.filter((message) => typeof message?.id === "string");
  const ids = new Set(known.map(({ id }) => id));
  const below = Map.groupBy(known, ({ parent }) => (ids.has(parent) ? parent : null));
  const waiting = [...(below.get(null) ?? [])]; // parents come before their children
  const said = [];
  const places = new Map(); // id -> place among what was said, of the message, or of the one above where it is left out
  for (const message of waiting) {
    if (places.has(message.id)) continue;
    const parent = places.get(message.parent) ?? -1;
    const words = wordsOf(message);
    places.set(message.id, words ? said.push({ id: said.length, parent, ...words }) - 1 : parent);
    for (const child of below.get(message.id) ?? []) waiting.push(child);
  }
  const leaf = places.get(conv.currNode) ?? said.length - 1;
  return { id: conv.id, kind: "chat", changed: conv.lastModified, messages: said, leaf };
}

/** What the page has no place for is left out: the root of the tree, system prompts, what tools say. */
function wordsOf({ role, content, reasoningContent, thinking = reasoningContent, extra }) {
  if (role === "assistant") return { role, content: thinking ? `<think>${thinking}</think>\n\n${content}` : content };
  if (role !== "user") return null;
  const files = Array.isArray(extra) ? extra : [];
  const images = files.filter((file) => file?.type === "imageFile").map((file) => file.base64Url);
  const texts = files.filter((file) => file?.type === "textFile").map((file) => `${file.name}:\n\n${file.content}`);
  const words = texts.length > 0 ? [content, ...texts].join("\n\n") : content;
  return { role, content: words, ...(images.length > 0 && { images }) };
}
