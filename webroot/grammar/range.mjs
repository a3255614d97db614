// Numbers within bounds as GBNF: whole ones, and decimals without an exponent.
// A bound is { value: number, exclusive: boolean } or null for none.

const MAX_MULTIPLES = 2000;

/** Whole numbers from low to high, spelled without fraction or exponent; "" when there are none. */
export function integerRule(low, high) {
  const least = low && (low.exclusive ? BigInt(Math.floor(low.value)) + 1n : BigInt(Math.ceil(low.value)));
  const most = high && (high.exclusive ? BigInt(Math.ceil(high.value)) - 1n : BigInt(Math.floor(high.value)));
  const positive = most === null || most >= 0n ? whole(least === null || least < 0n ? 0n : least, most) : "";
  const closest = most === null || most >= 0n ? 1n : -most; // to zero, of those below it
  const negative = least === null || least < 0n ? whole(closest, least === null ? null : -least) : "";
  return either([negative && `"-" (${negative})`, positive]);
}

/** Decimals from low to high; "" when there are none.  Throws by fail(reason) for bounds of extreme size. */
export function numberRule(low, high, fail) {
  const [least, most] = [low && decimal(low, fail), high && decimal(high, fail)];
  const ZERO = { whole: 0n, fraction: "", exclusive: false };
  const positive = most?.negative ? "" : magnitude(least && !least.negative ? least : ZERO, most);
  const negative = least && !least.negative ? "" : magnitude(most?.negative ? most : ZERO, least);
  return either([negative && `"-" (${negative})`, positive]);
}

/** Multiples of a step between two bounds, one by one: few enough of them, or fail(reason). */
export function multiplesRule(step, low, high, isWhole, fail) {
  if (!(step > 0)) fail("multipleOf must be more than 0");
  if (!low || !high) fail("multipleOf is supported only between two bounds");
  const numbers = [step, low.value, high.value].map((value) => decimal({ value }, fail));
  const places = Math.max(...numbers.map((number) => number.fraction.length));
  const [by, least, most] = numbers.map((n) => scaled(n, places));
  const first = least / by - 1n; // near enough: what is outside of the bounds is left out below
  const found = [];
  for (let k = first; k * by <= most; k++) {
    const value = k * by;
    if (value < least || (low.exclusive && value === least) || (high.exclusive && value === most)) continue;
    if (isWhole && value % 10n ** BigInt(places) !== 0n) continue;
    if (found.push(`"${spelled(value, places)}"`) > MAX_MULTIPLES) fail(`more than ${MAX_MULTIPLES} multiples`);
  }
  return found.join(" | ");
}

const either = (rules) => rules.filter(Boolean).join(" | ");

/** Whole numbers >= 0 from low to high (null: without end). */
function whole(low, high) {
  if (high !== null && low > high) return "";
  const [a, b] = [String(low), high === null ? null : String(high)];
  if (a.length === b?.length) return digits(a, b);
  const longer = high === null ? `[1-9] [0-9]{${a.length},}` : between(a.length + 1, b.length - 1);
  return either([digits(a, "9".repeat(a.length)), longer, b && digits(`1${"0".repeat(b.length - 1)}`, b)]);
}

/** All whole numbers with so many digits, of which there are at least two. */
function between(least, most) {
  if (least > most) return "";
  return `[1-9] [0-9]{${least - 1},${most - 1}}`;
}

/** Digit strings of one length, from low to high. */
function digits(low, high) {
  if (low === high) return low && `"${low}"`;
  if (/^0*$/.test(low) && /^9*$/.test(high)) return anyDigits(low.length);
  if (low[0] === high[0]) return `"${low[0]}" ${grouped(digits(low.slice(1), high.slice(1)))}`;
  const n = low.length - 1;
  const rest = n ? ` ${anyDigits(n)}` : "";
  const takesAll = { low: /^0*$/.test(low.slice(1)), high: /^9*$/.test(high.slice(1)) };
  const first = Number(low[0]) + (takesAll.low ? 0 : 1);
  const last = Number(high[0]) - (takesAll.high ? 0 : 1);
  return either([
    !takesAll.low && `"${low[0]}" ${grouped(digits(low.slice(1), "9".repeat(n)))}`,
    first <= last && `[${first}-${last}]${rest}`,
    !takesAll.high && `"${high[0]}" ${grouped(digits("0".repeat(n), high.slice(1)))}`,
  ]);
}

const anyDigits = (n) => (n === 1 ? "[0-9]" : `[0-9]{${n}}`);
const grouped = (rule) => (rule.includes(" | ") ? `(${rule})` : rule);

/** Decimals >= 0 from low to high (null: without end). */
function magnitude(low, high) {
  if (high && low.whole > high.whole) return "";
  if (low.whole === high?.whole) return withFraction(low.whole, low, high);
  const middle = whole(low.whole + 1n, high && high.whole - 1n);
  return either([
    withFraction(low.whole, low, null),
    middle && `${grouped(middle)} ("." [0-9]+)?`,
    high && withFraction(high.whole, null, high),
  ]);
}

/** One whole part, and the fractions that go with it. */
function withFraction(number, low, high) {
  const some = fraction(0, low, high);
  const point = some && `"." ${grouped(some)}`;
  if (mayEnd(0, low, high)) return `"${number}"${point && ` (${point})?`}`;
  return point && `"${number}" ${point}`;
}

/** Whether a fraction may end before digit i, all digits so far being those of the bounds that are given. */
function mayEnd(i, low, high) {
  const isZero = (bound) => i >= bound.fraction.length;
  return !(low && (!isZero(low) || low.exclusive)) && !(high && isZero(high) && high.exclusive);
}

/** One digit or more from digit i on.  low and high: bounds whose digits before i have all been taken, or null. */
function fraction(i, low, high) {
  if (low && !low.exclusive && i >= low.fraction.length) low = null;
  if (!low && !high) return "[0-9]+";
  if (high && i >= high.fraction.length) return low || high.exclusive ? "" : '"0"+';
  if (!high && i >= low.fraction.length) return '"0"* [1-9] [0-9]*';
  const [least, most] = [Number(low?.fraction[i] ?? 0), high ? Number(high.fraction[i]) : 9];
  const digit = (d, low, high) => {
    const more = fraction(i + 1, low, high);
    if (mayEnd(i + 1, low, high)) return `"${d}"${more && ` (${more})?`}`;
    return more && `"${d}" ${grouped(more)}`;
  };
  if (low && high && least === most) return digit(least, low, high);
  const first = least + (low ? 1 : 0);
  const last = most - (high ? 1 : 0);
  return either([
    low && digit(least, low, null),
    first <= last && `[${first}-${last}] [0-9]*`,
    high && digit(most, null, high),
  ]);
}

/** { negative, whole, fraction (digits, no zeros at the end), exclusive }, from how JavaScript writes the number. */
function decimal({ value, exclusive = false }, fail) {
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(value)) ?? fail(`the bound ${value}`);
  return { negative: sign === "-", whole: BigInt(whole), fraction, exclusive };
}

function scaled(number, places) {
  const value = BigInt(`${number.whole}${number.fraction.padEnd(places, "0")}`);
  return number.negative ? -value : value;
}

function spelled(value, places) {
  const text = String(value < 0n ? -value : value).padStart(places + 1, "0");
  const [whole, fraction] = [text.slice(0, text.length - places), text.slice(text.length - places).replace(/0+$/, "")];
  return `${value < 0n ? "-" : ""}${whole}${fraction && `.${fraction}`}`;
}
