// The head, the figures of now with their last ten minutes, and the partitions.

import { $, attribute, h, keyed, part, text } from "./dom.js";
import { NOTHING, bytes, count, counted, moment, partitions, rate, share, since, span, zone, zoneName } from "./format.js";
import { draw, sparkline } from "./spark.js";

const TEN_MINUTES = 600_000;
/** What is too long between two points for a line to join them. */
const GAP = 5_000;
/** Partitions that are shown unasked. */
const FEW = 8;

/** What is too short to say what was waited in it. */
const SHORT = 2;

let all = false;
/** Seconds that were waited by cause, by time: the last ten. */
let waits = [];
let drawn = null;

/** Forgets what belongs to another run. */
export function reset() {
  waits = [];
}

const at = (name) => (history) => history.map((point) => [Date.parse(point.at), point[name]]);

/** Epochs a second between points of the history. */
function epochs(history) {
  return history.slice(1).map((point, index) => {
    const before = history[index];
    const seconds = (Date.parse(point.at) - Date.parse(before.at)) / 1000;
    return [Date.parse(point.at), seconds > 0 ? Math.max(0, point.epoch - before.epoch) / seconds : NaN];
  });
}

const last = (points) => (points.length ? points.at(-1)[1] : NaN);

const TILES = [
  {
    name: "Records",
    unit: "/s",
    lists: (history) => [at("records_per_second")(history)],
    value: ([points]) => rate(last(points)),
    more: ({ totals }) => `${counted(totals.records, "record")}, ${bytes(totals.bytes)} in all`,
    most: (value) => `${rate(value)}/s`,
  },
  {
    name: "Rows",
    unit: "/s",
    lists: (history) => [at("rows_per_second")(history)],
    value: ([points]) => rate(last(points)),
    more: ({ totals }) => `${counted(totals.rows, "row")}, ${counted(totals.changes, "change")}`,
    most: (value) => `${rate(value)}/s`,
  },
  {
    name: "Latency",
    unit: "",
    lists: (history) => [at("latency_p99")(history), at("latency_p50")(history)],
    value: (_, { latency }) => span(latency?.last),
    more: ({ latency }) => `p50 ${span(latency?.p50)}, p99 ${span(latency?.p99)}`,
    most: (value) => `p99 ${span(value)}`,
  },
  {
    name: "Lag",
    unit: "records",
    lists: (history) => [at("lag")(history)],
    value: (_, { partitions }) => count(partitions.reduce((sum, { lag }) => sum + Math.max(0, lag ?? 0), 0)),
    more: ({ partitions }) => {
      const behind = partitions.filter(({ lag }) => lag > 0).length;
      return behind ? `${count(behind)} of ${counted(partitions.length, "partition")} behind` : "all is read";
    },
    most: count,
  },
  {
    name: "Watermark lag",
    unit: "",
    lists: (history) => [at("watermark_lag")(history)],
    value: (_, { watermarks }) => span(behind(watermarks)),
    more: ({ watermarks }) => {
      const inputs = Object.values(watermarks ?? {}).filter((mark) => mark !== null).length;
      return inputs === 1 ? "behind now" : inputs ? `behind now, the last of ${counted(inputs, "input")}` : "no event time yet";
    },
    most: span,
  },
  {
    name: "Epochs",
    unit: "/s",
    lists: (history) => [epochs(history)],
    value: ([points]) => rate(last(points)),
    more: ({ totals, closed_at }) => `${counted(totals.epochs, "epoch")}, last ${moment(closed_at)}`,
    most: (value) => `${rate(value)}/s`,
  },
];

function tile({ name, unit, lists }) {
  return h("figure", { class: "tile" },
    h("figcaption", {}, name),
    h("p", { class: "value" }, h("b", {}, NOTHING), h("span", { class: "unit" }, ` ${unit}`)),
    h("p", { class: "more-of quiet" }),
    h("div", { class: "chart" }, sparkline(lists([]).length), h("span", { class: "most quiet" })));
}

function tiles(status, now) {
  const history = status.history ?? [];
  // Of a young run, its whole life.
  const from = Math.max(now - TEN_MINUTES, Math.min(now - 60_000, Date.parse(status.started_at)));
  keyed($("tiles"), TILES, ({ name }) => name, tile, (element, of) => {
    const lists = of.lists(history);
    text(element.querySelector("b"), of.value(lists, status));
    text(element.querySelector(".more-of"), of.more(status));
    const most = draw(element.querySelector("svg"), lists, { from, to: now, gap: GAP });
    text(element.querySelector(".most"), most > 0 ? `most ${of.most(most)}` : "");
  });
}

/** How far the watermark is behind that is furthest, of those that there are. */
function behind(watermarks) {
  const spans = Object.values(watermarks ?? {}).filter((mark) => mark !== null).map((mark) => since(mark));
  return spans.length ? Math.max(0, ...spans) : NaN;
}

/** What the run has waited for in the last ten seconds. */
function waited({ blocked, workers }, now) {
  waits.push([now, blocked ?? {}]);
  while (waits.length > 2 && now - waits[1][0] >= 10_000) waits.shift();
  const [then, before] = waits[0];
  const seconds = (now - then) / 1000;
  // Before that there is nothing to compare with.
  if (!blocked || seconds < SHORT) return text($("waits"), "");
  // When the engine answers and when that is noted here is not the same moment: a little more than all is all.
  const of = (cause, by) => share(Math.min(1, Math.max(0, ((blocked[cause] ?? 0) - (before[cause] ?? 0)) / seconds / by)));
  text($("waits"), `Of the last ${span(Math.round(seconds))}, an epoch waited for the sinks ${of("sink", 1)} and for the ledger ${of("ledger", 1)}; `
    + `workers read nothing ${of("bounds", workers || 1)}, since their epochs were full.`);
}

function head(status) {
  const { dataflow, phase, epoch, closed_at, cut, workers, processes, version, started_at, replay } = status;
  text($("dataflow"), dataflow);
  document.title = `${dataflow} · Cutwater`;
  text($("phase"), phase);
  attribute($("phase"), "data-phase", phase);
  text($("size"), `${counted(workers, "worker")}${processes > 1 ? ` in ${count(processes)} processes` : ""}`);
  text($("epoch"), count(epoch));
  text($("closed"), closed_at ? `${moment(closed_at)} ${zone(closed_at)}` : NOTHING);
  text($("version"), version);
  text($("started"), `started ${moment(started_at)}`);
  text($("zone"), `times are ${zone()}${zoneName() === zone() ? "" : `, ${zoneName()}`}`);
  cutOf($("cut"), cut);
  $("replay").hidden = !replay;
  if (replay) {
    attribute($("replayed"), "max", replay.of || 1);
    attribute($("replayed"), "value", replay.epochs);
    text($("replay-text"), `${count(replay.epochs)} of ${counted(replay.of, "epoch")}`);
  }
}

/** A cut in one line, and whole when it is opened. */
function cutOf(details, cut) {
  const of = partitions(cut);
  const sum = of.reduce((sum, [, , offset]) => sum + offset, 0);
  const short = of.length === 0 ? NOTHING : of.length <= 2
    ? of.map(([topic, partition, offset]) => `${topic}/${partition}: ${count(offset)}`).join(", ")
    : `${counted(of.length, "partition")}, offsets ${count(sum)} in sum`;
  text(details.querySelector("summary"), short);
  if (!details.open) return;
  keyed(details.querySelector(".cut-all"), of, ([topic, partition]) => `${topic}/${partition}`,
    () => h("span", { class: "offset" }), (element, [topic, partition, offset]) => text(element, `${topic}/${partition}: ${count(offset)}`));
}

function lags({ partitions }) {
  const sorted = partitions.map((of) => ({ ...of, lag: Math.max(0, of.lag ?? 0) })).sort((a, b) =>
    b.lag - a.lag || a.topic.localeCompare(b.topic) || a.partition - b.partition);
  const most = sorted[0]?.lag ?? 0;
  const shown = all ? sorted : sorted.slice(0, FEW);
  const row = () => h("tr", {}, h("th", { scope: "row" }), h("td", { class: "number" }), h("td", { class: "number" }),
    h("td", { class: "bar" }, h("span", { class: "fill" })));
  keyed($("partitions"), shown, ({ topic, partition }) => `${topic}/${partition}`, row, (element, of) => {
    const [name, offset, lag, bar] = element.children;
    text(name, `${of.topic}/${of.partition}`);
    text(offset, count(of.offset));
    attribute(offset, "title", `the partition ends at ${count(of.end)}`);
    text(lag, count(of.lag));
    part(bar.firstElementChild, most ? of.lag / most : 0);
  });
  const button = $("all-partitions");
  button.hidden = sorted.length <= FEW;
  attribute(button, "aria-expanded", all);
  text(button, all ? `the ${FEW} that are furthest behind` : `all ${count(sorted.length)}`);
}

function watermarks({ watermarks }, now) {
  const row = () => h("tr", {}, h("th", { scope: "row" }), h("td"), h("td", { class: "number" }));
  keyed($("watermarks"), Object.entries(watermarks ?? {}), ([input]) => input, row, (element, [input, mark]) => {
    const [name, at, behind] = element.children;
    text(name, input);
    text(at, moment(mark));
    text(behind, span(since(mark, now)));
  });
}

/** Shows what the engine says of itself. */
export function show(status) {
  const now = Date.now();
  drawn = status;
  status.partitions ??= [];
  status.totals ??= {};
  head(status);
  tiles(status, now);
  waited(status, now);
  lags(status);
  watermarks(status, now);
}

/** The moment of an epoch, where the history knows it. */
export function momentOf(epoch) {
  const point = (drawn?.history ?? []).find((point) => point.epoch >= epoch);
  return point ? new Date(point.at) : null;
}

$("all-partitions").addEventListener("click", () => {
  all = !all;
  if (drawn) lags(drawn);
});
$("cut").addEventListener("toggle", () => drawn && cutOf($("cut"), drawn.cut));
