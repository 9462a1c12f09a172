// Outputs: the rows of one, at the newest epoch or at one that is held, with what became of them.

import { Gone, Refused, ask } from "./api.js";
import { $, attribute, h, keyed, options, part, text } from "./dom.js";
import { bytes, count, counted, moment, number, partitions, value } from "./format.js";
import { Past } from "./past.js";
import { momentOf } from "./status.js";
import { draw, sparkline } from "./spark.js";

const FIRST = 15;
const MOST = 1000;

/** What the engine says of its outputs. */
let known = { oldest: 0, newest: 0, outputs: [] };
/** The epoch that is looked at; null follows the newest. */
let pinned = null;
let wanted = FIRST;
let past = new Past();
/** The number of the newest question: answers to older ones are not shown. */
let asked = 0;
let busy = false;
let again = false;
/** The last answer, for what is redrawn without asking. */
let shown = null;

/** Bytes of all views, with what they were at the epochs held. */
export const held = () => known.outputs.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);

/** Forgets what belongs to another run. */
export function reset() {
  pinned = null;
  past = new Past();
}

const chosen = () => known.outputs.find(({ name }) => name === $("output").value);
const isNumber = ({ type }) => /^(i64|int|integer|f64|float|number|decimal)/i.test(type);

// ------------------------------------------------------------------ choosing

function choices() {
  options($("output"), known.outputs.map(({ name, rows }) => [name, `${name} (${count(rows)})`]));
  const output = chosen();
  if (!output) return;
  const before = $("by").dataset.of;
  options($("by"), [...output.columns.filter(isNumber).map(({ name }) => [name, name]), ["", "key"]]);
  if (before !== output.name) {
    $("by").dataset.of = output.name;
    $("by").value = first(output);
    past.begin(output);
  }
  $("order").disabled = $("by").value === "";
  const [keys] = output.key;
  const column = output.columns.find(({ name }) => name === keys);
  const isText = !column || /^(text|string)/i.test(column.type);
  options($("how"), [...(isText ? [["prefix", `${keys ?? "key"} begins with`]] : []), ["key", `${keys ?? "key"} is`]]);
}

/** What rows are sorted by first: a whole number that is no key, else any number. */
function first({ key, columns }) {
  const values = columns.filter((column) => isNumber(column) && !key.includes(column.name));
  const whole = values.find(({ type }) => /^i/.test(type));
  return (whole ?? values[0])?.name ?? "";
}

function scrubber() {
  const slider = $("scrub");
  const there = known.newest > 0;
  slider.disabled = !there;
  if (!there) return;
  attribute(slider, "min", known.oldest);
  attribute(slider, "max", known.newest);
  const epoch = pinned ?? known.newest;
  if (Number(slider.value) !== epoch) slider.value = epoch;
  const at = momentOf(epoch);
  const when = at ? `epoch ${count(epoch)}, ${moment(at)}` : `epoch ${count(epoch)}`;
  attribute(slider, "aria-valuetext", pinned === null ? `${when}, now` : when);
  text($("as-of"), pinned === null ? `${when} · held from ${count(known.oldest)} on` : `${when} · ${count(known.newest - pinned)} before the newest`);
  attribute($("live"), "aria-pressed", pinned === null);
  $("outputs").classList.toggle("pinned", pinned !== null);
}

// -------------------------------------------------------------------- asking

/** Asks what outputs there are, and for the rows of the chosen one. */
export async function update() {
  const answer = await ask("v1/outputs");
  known = { oldest: answer.oldest ?? answer.epoch, newest: answer.newest ?? answer.epoch, outputs: answer.outputs };
  choices();
  if (pinned !== null && pinned < known.oldest) {
    say(`Epoch ${count(pinned)} is no longer held; this is the oldest that is.`);
    pinned = known.oldest;
    await refresh();
  } else if (pinned === null || shown === null) {
    await refresh();
  }
  scrubber();
}

function question(output, limit) {
  const column = $("by").value;
  const search = $("text").value;
  return {
    ...(column === "" ? { limit } : { by: column, top: limit, order: $("order").value === "asc" ? "asc" : undefined, limit }),
    ...(search === "" ? {} : { [$("how").value]: search }),
  };
}

/** Asks for the rows. While an answer is awaited, the next question is asked once it has come. */
export async function refresh() {
  const output = chosen();
  if (!output) return;
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  asked += 1;
  const mine = asked;
  const parameters = question(output, wanted + 1);
  try {
    const answer = await ask(`v1/outputs/${encodeURIComponent(output.name)}`, { ...parameters, epoch: pinned ?? undefined });
    if (mine === asked) {
      shown = { output, answer, by: $("by").value, searched: $("text").value };
      past.add(output, $("by").value, answer.epoch, answer.rows);
      say("");
      rows();
      seed(output, parameters);
    }
  } catch (error) {
    if (error instanceof Gone) throw error;
    if (!(error instanceof Refused)) throw error;
    if (error.status === 410 && pinned !== null) pinned = known.oldest = Math.max(known.oldest, pinned + 1);
    say(error.message);
  } finally {
    busy = false;
  }
  if (again) {
    again = false;
    await refresh();
  }
}

/** Asks once, at some of the epochs held, what the rows were: their sparklines begin with a past. */
async function seed(output, parameters) {
  const column = $("by").value;
  if (column === "" || !past.wants(output, column, JSON.stringify(parameters))) return;
  const to = known.newest;
  // The oldest may be gone before they are asked for.
  const from = known.oldest + Math.ceil((to - known.oldest) / 20);
  const steps = Math.min(12, to - from);
  for (let step = 0; step < steps; step += 1) {
    const epoch = Math.round(from + ((to - from) * step) / steps);
    try {
      const answer = await ask(`v1/outputs/${encodeURIComponent(output.name)}`, { ...parameters, epoch });
      past.add(output, column, answer.epoch, answer.rows);
    } catch {
      return;
    }
  }
  if (shown?.output.name === output.name) rows();
}

const say = (why) => text($("rows-note"), why);

// ------------------------------------------------------------------- showing

function rows() {
  const { answer, by, searched } = shown;
  const output = known.outputs.find((of) => of.name === shown.output.name) ?? shown.output;
  const all = answer.rows.slice(0, wanted);
  const largest = Math.max(...all.map((row) => Math.abs(number(row[by]))).filter(Number.isFinite), 0);
  heads(output, by);
  keyed($("rows").tBodies[0], all, (row) => past.keyOf(output, row), () => make(output, by), (element, row) => fill(element, output, by, row, largest));
  $("more").hidden = answer.rows.length <= wanted || wanted >= MOST;
  const found = all.length === 0 ? (searched ? "no row has such a key" : "no rows yet") : "";
  const since = output.since ? `, those up to epoch ${count(output.since)} are not held` : "";
  text($("rows-count"), found || `${counted(all.length, "row")} of ${count(output.rows)}${since}; ${cutOf(answer)}. All rows at all epochs held take ${bytes(output.bytes)}.`);
}

function cutOf({ epoch, cut }) {
  const of = partitions(cut);
  const sum = of.reduce((sum, [, , offset]) => sum + offset, 0);
  return `epoch ${count(epoch)}, the cut is ${of.length === 1 ? `offset ${count(sum)}` : `${counted(of.length, "partition")}, offsets ${count(sum)} in sum`}`;
}

function heads({ name, key, columns }, by) {
  const head = $("rows").tHead;
  const drawn = JSON.stringify([name, by]);
  if (head.dataset.drawn === drawn) return;
  head.dataset.drawn = drawn;
  $("rows").tBodies[0].replaceChildren();
  head.replaceChildren(h("tr", {}, columns.map((column) => h("th", {
    scope: "col",
    class: `${isNumber(column) ? "number" : ""}${key.includes(column.name) ? " key" : ""}`,
    "aria-sort": column.name === by ? ($("order").value === "asc" ? "ascending" : "descending") : undefined,
  }, column.name)), by === "" ? [] : [
    h("th", { scope: "col", class: "bar" }, h("span", { class: "hidden" }, `share of the largest ${by}`)),
    h("th", { scope: "col", class: "trend" }, h("span", { class: "hidden" }, `${by} over the epochs held`)),
  ]));
}

function make({ key, columns }, by) {
  const cells = columns.map((column) => (key.includes(column.name)
    ? h("th", { scope: "row", class: isNumber(column) ? "number" : "" })
    : h("td", { class: isNumber(column) ? "number" : "" })));
  const bar = h("td", { class: "bar" }, h("span", { class: "fill" }));
  return h("tr", {}, cells, by === "" ? [] : [bar, h("td", { class: "trend" }, sparkline())]);
}

function fill(element, output, by, row, largest) {
  output.columns.forEach(({ name, type }, index) => {
    const cell = element.children[index];
    const is = /^timestamp/i.test(type) && row[name] !== null ? moment(row[name]) : value(row[name]);
    text(cell, is);
    attribute(cell, "title", String(is).length > 24 ? String(row[name]) : null);
  });
  if (by === "") return;
  const [bar, trend] = [...element.children].slice(-2);
  part(bar.firstElementChild, largest ? Math.abs(number(row[by])) / largest : 0);
  const points = past.of(output, by, row);
  const from = Math.min(past.oldest(), known.oldest || Infinity);
  draw(trend.firstElementChild, [points], { from: Number.isFinite(from) ? from : 0, to: Math.max(known.newest, 1), zero: false });
}

// ------------------------------------------------------------------- hearing

function changed() {
  asked += 1;
  wanted = FIRST;
  choices();
  refresh().catch(() => {});
}

for (const id of ["output", "by", "order", "how"]) $(id).addEventListener("change", () => {
  if (id === "order") $("rows").tHead.dataset.drawn = "";
  changed();
});
$("text").addEventListener("input", changed);
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  changed();
});
$("scrub").addEventListener("input", () => {
  pinned = Number($("scrub").value);
  asked += 1;
  scrubber();
  refresh().then(scrubber, () => {});
});
$("live").addEventListener("click", () => {
  pinned = null;
  asked += 1;
  scrubber();
  refresh().catch(() => {});
});
$("more").addEventListener("click", () => {
  wanted = Math.min(MOST, wanted * 2);
  asked += 1;
  refresh().catch(() => {});
});
