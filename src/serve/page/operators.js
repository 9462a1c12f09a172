// Operators: where the time goes, where the memory is, and whether one worker is the bottleneck.

import { $, attribute, h, keyed, part, s, text } from "./dom.js";
import { NOTHING, bytes, count, rate, share } from "./format.js";
import { model } from "./graph.js";

/** The width of a lane of the drawing. */
const narrow = matchMedia("(max-width: 560px)");
const lane = () => (narrow.matches ? 8 : 14);
/** Workers whose bars are drawn one by one. */
const FEW = 8;
/** How many times the mean an operator's busiest worker may have before it is said to be uneven. */
const UNEVEN = 1.5;
/** The same of all operators together: up to the first workers are even, from the second on one has most. */
const [EVEN, MOST] = [1.1, 1.25];
const RECENT = 10_000;

const COLUMNS = [
  { key: "flow", name: "operator", title: "in the order of the flow" },
  { key: "time", name: "time", title: "part of a worker's time, the mean of all workers; a bar for each worker" },
  { key: "in", name: "rows in/s", wide: true },
  { key: "out", name: "rows out/s", wide: true },
  { key: "rows", name: "rows held", wide: true },
  { key: "bytes", name: "memory" },
  { key: "skew", name: "skew", title: "the busiest worker's time, over the mean" },
];

let answers = [];
let sort = "flow";
let open = new Set();
let started = null;
/** Bytes: what process 0 takes, and what views take of it. */
let taken = {};

/** Forgets what belongs to another run. */
export function reset() {
  answers = [];
  open = new Set();
  taken = {};
}

/** Shows what the process takes beside its operators. */
export function memory(of) {
  taken = of;
  render();
}

/** Shows an answer; `since` is when the run was started. */
export function show(graph, since) {
  started = since;
  const now = Date.now();
  answers.push({ at: now, graph });
  while (answers.length > 2 && now - answers[1].at >= RECENT) answers.shift();
  render();
}

function render() {
  const { at, graph } = answers.at(-1) ?? {};
  if (!graph) return;
  const recent = $("span").value === "recent" && answers.length > 1;
  const before = recent ? answers[0] : null;
  const seconds = Math.max(0.1, (at - (before?.at ?? Date.parse(started))) / 1000);
  const shown = model(graph, before?.graph, seconds);
  heads();
  verdict(shown);
  workers(shown.workers);
  table(shown);
}

// ------------------------------------------------------------------ in words

function most(tops, name) {
  return tops.reduce((most, node) => (node.figures[name] > (most?.figures[name] ?? 0) ? node : most), null);
}

/** Where the memory is: views of outputs and operators are told, what else the process takes is their difference. */
function whereMemoryIs(tops) {
  const operator = most(tops, "bytes");
  const held = tops.reduce((sum, { figures }) => sum + figures.bytes, 0);
  const views = taken.views ?? 0;
  const all = taken.resident ? `; process 0 takes ${bytes(taken.resident)} in all` : "";
  if (views > held) {
    const rest = operator ? `; operators ${bytes(held)}, most of it ${operator.name}` : "";
    return ["memory", "Most memory", "views of outputs", `${bytes(views)}, with --view-history${rest}${all}`];
  }
  if (!operator) return ["memory", "Memory", "", `operators hold nothing${all}`];
  const beside = taken.views === undefined ? "" : `; views of outputs ${bytes(views)}`;
  return ["memory", "Most memory", operator.name, `${bytes(operator.figures.bytes)} of ${bytes(held)} that operators hold${beside}${all}`];
}

/** How evenly workers are busy. */
function whoIsBusy(tops, workers) {
  const busiest = workers.reduce((most, of) => (of.share > most.share ? of : most));
  const times = busiest.share / (workers.reduce((sum, of) => sum + of.share, 0) / workers.length);
  const even = times < EVEN && !tops.some(({ figures }) => isUneven(figures));
  const what = times >= MOST ? "One worker has most" : even ? "Workers are even" : "Busiest";
  return ["worker", what, `worker ${busiest.worker}`, `${share(busiest.share)} busy, ${times.toFixed(1)} × the mean`];
}

function verdict({ tops, workers }) {
  const lines = [];
  const time = most(tops, "time");
  const total = tops.reduce((sum, { figures }) => sum + figures.time, 0);
  if (time && total >= 0.005) {
    lines.push(["time", "Most time", time.name, `${share(time.figures.time / total)} of what operators take`]);
  } else {
    lines.push(["time", "Most time", "", "the workers are idle"]);
  }
  lines.push(whereMemoryIs(tops));
  if (workers.length > 1 && total >= 0.005) lines.push(whoIsBusy(tops, workers));
  keyed($("verdict"), lines, ([key]) => key, () => h("li", {}, h("span", { class: "quiet" }), " ", h("b"), " ", h("span")),
    (element, [, what, name, more]) => {
      const [first, second, third] = element.children;
      text(first, what);
      text(second, name);
      text(third, more);
    });
}

/** One worker has so much of an operator's time that the others wait for it. */
const isUneven = ({ skew, most }) => skew >= UNEVEN && most >= 0.05;

function workers(of) {
  const make = () => h("div", { class: "worker", role: "listitem" }, h("span", { class: "quiet" }), h("span", { class: "bar" }, h("span", { class: "fill" })), h("b"));
  keyed($("workers"), of, ({ worker }) => worker, make, (element, { worker, share: busy }) => {
    const [name, bar, value] = element.children;
    text(name, `worker ${worker}`);
    part(bar.firstElementChild, busy);
    text(value, share(busy));
  });
}

// ---------------------------------------------------------------- the table

function heads() {
  const row = $("operators").tHead;
  if (!row.rows.length) {
    row.append(h("tr", {}, COLUMNS.map(({ key, name, title, wide }) => h("th", {
      scope: "col", "data-sort": key, class: `${key === "flow" ? "" : "number"}${wide ? " wide" : ""}`,
    }, h("button", { type: "button", title, onclick: () => sortBy(key) }, name)))));
  }
  for (const cell of row.rows[0].cells) {
    const by = cell.dataset.sort === sort;
    attribute(cell, "aria-sort", by ? (sort === "flow" ? "ascending" : "descending") : null);
  }
}

function sortBy(key) {
  sort = key;
  render();
}

/** The rows of the table: operators, and below those that are open what is inside, or what each worker does. */
function rows({ rows: flow, parts }) {
  const order = sort === "flow" ? flow : flow.map(({ node }) => ({ node })).sort((a, b) =>
    (b.node.figures[sort] || 0) - (a.node.figures[sort] || 0));
  return order.flatMap((row) => {
    const { node, below } = row;
    const inside = open.has(node.id) ? detail(node, parts, below) : [];
    return [{ ...row, key: `o${node.id}`, name: node.name, figures: node.figures, opens: true }, ...inside];
  });
}

function detail(node, parts, below) {
  const lines = (below ?? []).map((lane) => [lane, lane, "whole"]);
  const inner = parts(node).map((child) => ({
    key: `i${child.id}`, name: child.name, figures: child.figures, lines, inside: true,
  }));
  const workers = node.figures.busy.map(({ worker, share }) => {
    const spent = node.spent.find((of) => of.worker === worker) ?? {};
    const figures = { busy: [{ worker, share }], time: share, in: NaN, out: NaN, rows: spent.arranged_rows ?? 0, bytes: spent.arranged_bytes ?? 0, skew: NaN };
    return { key: `w${node.id}-${worker}`, name: `on worker ${worker}`, figures, lines, inside: true };
  });
  return [...inner, ...(workers.length > 1 ? workers : [])];
}

function table(shown) {
  const items = rows(shown);
  const lanes = Math.max(1, ...items.map(({ lane, lines }) => 1 + Math.max(lane ?? 0, ...(lines ?? []).flatMap(([a, b]) => [a, b]))));
  const top = { time: Math.max(0.01, ...shown.tops.map(({ figures }) => figures.most)), bytes: Math.max(1, ...shown.tops.map(({ figures }) => figures.bytes)) };
  keyed($("operators").tBodies[0], items, ({ key }) => key, make, (element, item) => update(element, item, lanes, top));
}

function make({ opens, node }) {
  const name = opens
    ? h("button", { type: "button", class: "name", onclick: () => toggle(node.id) })
    : h("span", { class: "name" });
  return h("tr", { class: opens ? "" : "inside" },
    h("th", { scope: "row" }, h("div", { class: "op" }, h("span", { class: "rails", "aria-hidden": "true" }), name)),
    h("td", { class: "time number" }, h("span", { class: "of" }), h("span", { class: "bars" })),
    h("td", { class: "number wide" }), h("td", { class: "number wide" }), h("td", { class: "number wide" }),
    h("td", { class: "memory number" }, h("span", { class: "of" }), h("span", { class: "bar" }, h("span", { class: "fill" }))),
    h("td", { class: "number skew" }));
}

function toggle(id) {
  if (!open.delete(id)) open.add(id);
  render();
}

function update(element, { lane, lines, name, node, opens, figures }, lanes, top) {
  const [head, time, input, output, held, memory, skew] = element.children;
  const [drawing, label] = head.firstElementChild.children;
  drawRails(drawing, lane, lines, lanes, figures.time / top.time);
  text(label, name);
  attribute(label, "title", node?.path ?? null);
  if (opens) attribute(label, "aria-expanded", open.has(node.id));
  text(time.firstElementChild, share(figures.time));
  bars(time.lastElementChild, figures, top.time);
  text(input, Number.isFinite(figures.in) ? rate(figures.in) : "");
  text(output, Number.isFinite(figures.out) ? rate(figures.out) : "");
  text(held, figures.rows ? count(figures.rows) : "");
  text(memory.firstElementChild, figures.bytes ? bytes(figures.bytes) : "");
  part(memory.lastElementChild.firstElementChild, figures.bytes / top.bytes);
  const uneven = isUneven(figures);
  text(skew, Number.isFinite(figures.skew) ? `× ${figures.skew.toFixed(1)}${uneven ? " !" : ""}` : "");
  attribute(skew, "title", uneven ? `its busiest worker: ${share(figures.most)} of its time` : null);
  attribute(skew, "data-uneven", uneven || null);
}

/** A bar for each worker; of many workers, those that have least and most, and the mean. */
function bars(parent, { busy, time, most }, top) {
  const least = Math.min(...busy.map((of) => of.share));
  const shown = busy.length <= FEW ? busy : [{ worker: "least", share: least }, { worker: "mean", share: time }, { worker: "most", share: most }];
  keyed(parent, shown, ({ worker }) => worker, () => h("span", { class: "fill" }), (element, of) => part(element, of.share / top));
}

// -------------------------------------------------------------- the drawing

const x = (at) => (at + 0.5) * lane();

function drawRails(parent, at, lines, lanes, heat) {
  if (!lines) {
    if (parent.firstChild) parent.replaceChildren();
    parent.style.width = "0";
    return;
  }
  const width = lanes * lane();
  const path = lines.map(([from, to, which]) => {
    const [start, end] = { upper: [0, 50], lower: [50, 100], whole: [0, 100] }[which];
    return from === to ? `M${x(from)} ${start}V${end}` : `M${x(from)} ${start}C${x(from)} 85 ${x(to)} 65 ${x(to)} ${end}`;
  }).join("");
  const drawn = `${width} ${at} ${path} ${Math.round(heat * 8)}`;
  if (parent.dataset.drawn === drawn) return;
  parent.dataset.drawn = drawn;
  parent.style.width = `${width}px`;
  const svg = s("svg", { viewBox: `0 0 ${width} 100`, width, preserveAspectRatio: "none" }, s("path", { d: path }));
  const dot = at === undefined ? null : h("span", { class: "dot" });
  if (dot) {
    // The larger its part of the time, the larger the dot.
    const size = 7 + Math.round(Math.min(1, heat || 0) * 6);
    dot.style.width = dot.style.height = `${size}px`;
    dot.style.left = `${x(at) - size / 2}px`;
  }
  parent.replaceChildren(...[svg, dot].filter(Boolean));
}

$("span").addEventListener("change", render);
narrow.addEventListener("change", render);

/** Says that there is no graph to show. */
export function none(why) {
  keyed($("verdict"), [why], () => "why", () => h("li"), (element, why) => text(element, why || NOTHING));
}
