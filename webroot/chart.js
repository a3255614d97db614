// A line over time as a picture, in SVG.

const WIDTH = 320;
const HEIGHT = 88;
const NAMESPACE = "http://www.w3.org/2000/svg";

/** values: the newest last, at most `room` of them, none below 0.  label: what a screen reader says. */
export function chart(values, room, label) {
  const top = niceTop(Math.max(...values, 1));
  const x = (i) => WIDTH - ((values.length - 1 - i) * WIDTH) / (room - 1);
  const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 16);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  const area = [`${x(0).toFixed(1)},${HEIGHT}`, ...points, `${WIDTH},${HEIGHT}`].join(" ");
  const text = node("text", { x: 0, y: 9 });
  text.append(String(top));
  return node(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "chart" },
    ...[top, top / 2].map((value) => node("line", { x1: 0, x2: WIDTH, y1: y(value), y2: y(value) })),
    node("polygon", { points: area }),
    node("polyline", { points: points.join(" ") }),
    text,
  );
}

function node(name, attributes, ...children) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The next 1, 2 or 5 times a power of ten. */
function niceTop(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= most);
}
