// What goes to the server: {route, body} for api.js, from the settings and what has been said.

import { ApiError } from "./api.js";
import { render } from "./templates.js";

/** The reply to a path of messages; text that the reply has already is gone on with. */
export async function ofChat(settings, messages, reply) {
  const turns = conversation(messages);
  if (reply.content) turns.push({ role: "assistant", content: reply.content });
  if (settings.get("page.template_kind") === "own") {
    if (turns.some(({ images = [] }) => images.length > 0))
      throw new ApiError("Pictures need the model's own prompt template: choose it in the settings.", 400);
    const { prompt, stop } = render((name) => settings.get(`page.${name}`), turns);
    const fields = settings.parameters();
    return { route: "completion", body: { ...fields, prompt, stop: [...new Set([...(fields.stop ?? []), ...stop])] } };
  }
  const system = settings.get("page.system");
  const head = system ? [{ role: "system", content: system }] : [];
  const going = reply.content ? { continue_final_message: true } : {};
  const said = await Promise.all(turns.map(withImages));
  return { route: "chat", body: { ...settings.parameters(), messages: [...head, ...said], ...going } };
}

/** What comes after a text. */
export function ofText(settings, text) {
  return { route: "completion", body: { ...settings.parameters(), prompt: text } };
}

/** Replies without text are left out and neighbours of one role joined: many chat templates insist on turns. */
export function conversation(messages) {
  const turns = [];
  for (const { role, content, images = [] } of messages) {
    if (!content && images.length === 0) continue;
    const before = turns.at(-1);
    if (before?.role !== role) turns.push({ role, content, images: [...images] });
    else {
      before.content += `\n\n${content}`;
      before.images.push(...images);
    }
  }
  return turns;
}

async function withImages({ role, content, images = [] }) {
  if (images.length === 0) return { role, content };
  const urls = await Promise.all(images.map(dataUrl));
  const parts = urls.map((url) => ({ type: "image_url", image_url: { url } }));
  return { role, content: [...parts, { type: "text", text: content }] };
}

/** A Blob as a data: address. */
export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
