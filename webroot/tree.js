// A chat as a tree.  Editing a question or asking again adds a sibling, so nothing that was said is ever overwritten.
// Plain data: {id, kind: "chat", changed, messages, leaf}.  A message's id is its place in messages; its parent comes
// before it (-1: none); what is on screen is the path from the top to the leaf (-1: nothing yet).

export const freshId = () => crypto.getRandomValues(new Uint32Array(2)).join("-");
export const freshChat = () => ({ id: freshId(), kind: "chat", changed: Date.now(), messages: [], leaf: -1 });

export function path({ messages, leaf }) {
  const found = [];
  for (let at = leaf; at >= 0; at = messages[at].parent) found.push(messages[at]);
  return found.reverse();
}

/** Put a message below a parent, and on screen; returns it. */
export function add(chat, fields, parent = chat.leaf) {
  const message = { id: chat.messages.length, parent, ...fields };
  chat.messages.push(message);
  chat.leaf = message.id;
  return message;
}

/** The message and those that stand in its place on other branches, in the order they were made. */
export const siblings = (chat, { parent }) => chat.messages.filter((message) => message.parent === parent);

/** Show the branch through this message, down to what was written last on it. */
export function choose(chat, { id }) {
  const below = new Set([id]);
  chat.leaf = id;
  for (const message of chat.messages.slice(id + 1)) {
    if (!below.has(message.parent)) continue;
    below.add(message.id);
    chat.leaf = message.id;
  }
}

/** The first words of the first question, or of a completion's text. */
export function title({ kind, messages = [], text = "" }) {
  const words = kind === "completion" ? text : messages.find((message) => message.role === "user")?.content;
  return words?.trim().slice(0, 80) || (kind === "completion" ? "New completion" : "New chat");
}
