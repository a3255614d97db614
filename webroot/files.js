// Chats as a file: JSON, {format, version, chats}.  What comes in is checked field by field: it may be anybody's.

import { fromLlamaCpp } from "./foreign.js";
import { dataUrl } from "./requests.js";

const FORMAT = "llamatw.chats";
const VERSION = 1;
const PICTURE = /^data:image\/(png|jpeg|gif|webp|avif|bmp);base64,[A-Za-z0-9+/]*={0,2}$/;

export async function pack(chats) {
  const packed = await Promise.all(chats.map(packChat));
  return JSON.stringify({ format: FORMAT, version: VERSION, chats: packed }, null, 1);
}

async function packChat(chat) {
  if (chat.kind === "completion") return chat;
  const messages = await Promise.all(
    chat.messages.map(async (one) =>
      one.images ? { ...one, images: await Promise.all(one.images.map(dataUrl)) } : one,
    ),
  );
  return { ...chat, messages };
}

/** The chats of a file; throws an Error that says in words what is wrong with it. */
export async function unpack(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON.");
  }
  const theirs = fromLlamaCpp(file);
  if (theirs) return Promise.all(theirs.map(unpackChat));
  if (file?.format !== FORMAT || !Array.isArray(file.chats))
    throw new Error("it holds no chats of this page, nor of llama.cpp's.");
  if (file.version !== VERSION) throw new Error("it is of another version of this page.");
  return Promise.all(file.chats.map(unpackChat));
}

async function unpackChat(chat, at) {
  const need = (holds, what) => {
    if (!holds) throw new Error(`chat ${at + 1}: ${what}.`);
  };
  need(typeof chat?.id === "string" && chat.id.length <= 64, "the id is no short text");
  need(Number.isFinite(chat.changed), "the time of the last change is missing");
  const { id, changed } = chat;
  if (chat.kind === "completion") {
    need(typeof chat.text === "string", "the text is missing");
    return { id, kind: "completion", changed, text: chat.text, reply: null };
  }
  need(chat.kind === "chat" && Array.isArray(chat.messages), "there are no messages");
  const { leaf, messages } = chat;
  need(Number.isInteger(leaf) && leaf >= -1 && leaf < messages.length, "no message is the last");
  return {
    id,
    kind: "chat",
    changed,
    leaf,
    messages: await Promise.all(messages.map((one, i) => unpackMessage(one, i, need))),
  };
}

/** Parents come first, so no message can be its own ancestor. */
async function unpackMessage(message, i, need) {
  const where = `message ${i + 1}`;
  need(
    message?.id === i && Number.isInteger(message.parent) && message.parent >= -1 && message.parent < i,
    `${where} is in no place`,
  );
  need(["user", "assistant"].includes(message.role) && typeof message.content === "string", `${where} is no message`);
  const { id, parent, role, content, images } = message;
  if (role === "assistant") return { id, parent, role, content, outcome: "stop", ...unpackProbs(message.probs) };
  if (images === undefined) return { id, parent, role, content };
  need(Array.isArray(images) && images.every((url) => PICTURE.test(url)), `${where} has a picture that is none`);
  return { id, parent, role, content, images: images.map(blobOf) };
}

/** Nothing where one of them is not as it should be: a reply does without. */
function unpackProbs(probs) {
  const isProb = (value) => Number.isFinite(value) && value >= 0 && value <= 1.001;
  const isChoice = (one) => Array.isArray(one) && typeof one[0] === "string" && isProb(one[1]);
  const isBytes = (bytes) =>
    Array.isArray(bytes) && bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256);
  const isEntry = (one) =>
    typeof one?.token === "string" && isBytes(one.bytes) && isProb(one.prob) && one.top?.every?.(isChoice);
  if (!Array.isArray(probs) || !probs.every(isEntry)) return {};
  return { probs: probs.map(({ token, bytes, prob, top }) => ({ token, bytes, prob, top })) };
}

function blobOf(url) {
  const [head, data] = url.split(",");
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}
