// The lines of markdown lists: where a list ends, and what belongs to each item.

export const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])([ \t]+)(?=\S)/;
export const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/; // "* * *" is none

export const isNumber = (marker) => marker.length > 1;
const columns = (space) => space.replaceAll("\t", "    ").length;

/** A list goes on over further items of its kind, indented lines, and lines that merely continue a paragraph.
 *  interrupts(i): whether line i begins a block of another kind. */
export function listEnd(lines, at, interrupts) {
  const [, space, marker] = ITEM.exec(lines[at]);
  const base = columns(space);
  const leaves = (line, i) => {
    if (!line.trim()) return false;
    if (columns(/^[ \t]*/.exec(line)[0]) >= base + 2) return false;
    const item = ITEM.exec(line);
    if (item && !RULE.test(line)) return isNumber(item[2]) !== isNumber(marker);
    return !lines[i - 1].trim() || interrupts(i);
  };
  let end = at + 1;
  while (end < lines.length && !leaves(lines[end], end)) end++;
  while (!lines[end - 1].trim()) end--;
  return end;
}

/** The lines of each item, without marker and indentation. */
export function items(lines) {
  const base = columns(ITEM.exec(lines[0])[1]);
  const found = [];
  let strip;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && columns(item[1]) < base + 2) {
      strip = new RegExp(`^(?:\t| {1,${item[2].length + item[3].length + columns(item[1])}})`);
      found.push([line.slice(item[0].length).replace(/^\[( |x)\] /i, (_, mark) => (mark === " " ? "☐ " : "☑ "))]);
    } else found.at(-1).push(line.replace(strip, ""));
  }
  return found;
}
