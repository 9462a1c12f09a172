// Numbers, sizes, times and rows, as text.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short" });

export const NOTHING = "–";
const missing = (value) => value === undefined || value === null || Number.isNaN(value);

/** A whole number. */
export const count = (value) => (missing(value) ? NOTHING : whole.format(value));

/** A number and what it is of. */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** What comes a second. */
export function rate(value) {
  if (missing(value)) return NOTHING;
  if (value >= 1e7) return `${tenths.format(value / 1e6)} M`;
  return value > 0 && value < 10 ? tenths.format(value) : whole.format(value);
}

/** A size. */
export function bytes(value) {
  if (missing(value)) return NOTHING;
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < 5) [size, unit] = [size / 1024, unit + 1];
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${size.toFixed(digits)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

/** A time span, of seconds. */
export function span(value) {
  if (missing(value)) return NOTHING;
  const seconds = Math.max(0, value);
  if (seconds === 0) return "0 ms";
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (minutes < 120) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${whole.format(days)} d ${hours % 24} h`;
}

/** A part of 1. */
export function share(value) {
  if (missing(value)) return NOTHING;
  const percent = value * 100;
  return `${percent > 0 && percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** A moment on this day, or with its day. */
export function moment(value) {
  const date = value instanceof Date ? value : new Date(value);
  if (missing(value) || Number.isNaN(date.getTime())) return NOTHING;
  const today = day.format(date) === day.format(new Date());
  return today ? time.format(date) : `${day.format(date)} ${time.format(date)}`;
}

/** The zone of all times that are shown, as of a moment: "UTC+1". */
export function zone(value = new Date()) {
  const parts = new Intl.DateTimeFormat("en", { timeZoneName: "shortOffset" }).formatToParts(new Date(value));
  return parts.find(({ type }) => type === "timeZoneName").value.replace(/^GMT(\+0$)?/, "UTC");
}

/** Its name: "Europe/Berlin". */
export const zoneName = () => new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Seconds from then to `now`, in milliseconds. */
export const since = (value, now = Date.now()) => (missing(value) ? NaN : (now - new Date(value).getTime()) / 1000);

/** A value of a row. */
export function value(of) {
  if (of === null || of === undefined) return "null";
  if (typeof of === "number") return Number.isInteger(of) ? whole.format(of) : String(of);
  return typeof of === "string" ? of : JSON.stringify(of);
}

/** The number that a value is, or NaN: decimals are text. */
export function number(of) {
  if (typeof of === "number") return of;
  return typeof of === "string" && /^-?[0-9]+([.][0-9]+)?$/.test(of) ? Number(of) : NaN;
}

/** The partitions of a cut, whatever it is by: `{"lines":{"0":345}}` gives `[["lines", "0", 345]]`. */
export function partitions(cut, path = []) {
  return Object.entries(cut ?? {}).flatMap(([name, inner]) =>
    typeof inner === "number" ? [[path.join(" "), name, inner]] : partitions(inner, [...path, name]));
}
