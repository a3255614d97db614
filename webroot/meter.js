// How full the model's context is: the tokens of the conversation against what the model holds.

import { $ } from "./dom.js";

/** stats: of the newest reply on screen, or nothing; size: what the model holds, or nothing. */
export function showMeter(stats, size) {
  const box = $(".context");
  const used = stats?.used;
  box.hidden = !(used && size);
  if (box.hidden) return;
  $("meter", box).max = size;
  $("meter", box).high = 0.8 * size;
  $("meter", box).value = used;
  $("span", box).textContent = `${used.toLocaleString()} of ${size.toLocaleString()} tokens of context`;
}
