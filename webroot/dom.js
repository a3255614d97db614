// Tools for building the page: elements, icons, the clipboard, the toast.  Text enters the page only as text nodes.

export const $ = (selector, root = document) => root.querySelector(selector);

/** h("a", { href, onclick, hidden: true }, child, ...): attributes by name, "on..." as listeners; null is left out. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false && value !== undefined)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat());
  return node;
}

/** One of the symbols at the top of index.html. */
export function icon(name) {
  const make = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const use = make("use");
  use.setAttribute("href", `#i-${name}`);
  const svg = make("svg");
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onclick) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick }, icon(name));
}

/** A button that copies text() and answers with a tick. */
export function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    if (!(await copy(text()))) return toast("This browser does not let the page copy.");
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** The clipboard interface exists on https and localhost only; elsewhere a hidden field and the old command do it. */
async function copy(text) {
  if (navigator.clipboard)
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  const field = h("textarea", { class: "offscreen" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

/** What fetches a library when first called: it, or null where it is not to be had. */
export function library(load) {
  let loading;
  return () => (loading ??= load().catch(() => null));
}

let toastTimer;
document.addEventListener("close", () => document.body.append($(".toast")), true); // it outlives its dialog

/** One sentence at the top for some seconds, with a way back where there is one. */
export function toast(text, undo) {
  const box = $(".toast");
  ($("dialog[open]") ?? document.body).append(box); // what is outside of a dialog cannot be pressed meanwhile
  const button = $("button", box);
  const hide = () => (box.hidden = true);
  $("span", box).textContent = text;
  button.hidden = !undo;
  button.onclick = () => {
    hide();
    undo();
  };
  box.hidden = false;
  const wait = () => {
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => (box.matches(":hover, :focus-within") ? wait() : hide()), undo ? 8000 : 5000);
  };
  wait();
}
