// The state: where it is, its checkpoints, its ledger, and the cut up to which it is durable.

import { ask } from "./api.js";
import { $, h, keyed, text } from "./dom.js";
import { NOTHING, bytes, count, counted, moment, partitions, since, span } from "./format.js";

/** Partitions that are listed. */
const FEW = 12;

/** Asks for it. */
export async function update() {
  const { state } = await ask("v1/state");
  if (state) show(state);
  else nothing();
}

function nothing() {
  if ($("state").dataset.kind === "none") return;
  $("state").dataset.kind = "none";
  $("state").replaceChildren(h("p", { class: "note" }, "This run keeps none: a run after it starts where ", h("code", {}, "--from"), " says. ",
    h("code", {}, "--state"), " keeps ledger and checkpoints."));
}

function frame() {
  if ($("state").dataset.kind === "kept") return;
  $("state").dataset.kind = "kept";
  const head = (...names) => h("thead", {}, h("tr", {}, names.map((name, index) => h("th", { scope: "col", class: index ? "number" : "" }, name))));
  $("state").replaceChildren(
    h("dl", { class: "facts" }, ["place", "ledger", "last checkpoint", "cut"].map((name) => h("div", {}, h("dt", {}, name), h("dd", { id: `state-${name.replace(" ", "-")}` }, NOTHING)))),
    h("h3", {}, "Checkpoints"),
    h("table", {}, h("caption", { class: "hidden" }, "Checkpoints, the newest first"), head("epoch", "complete", "stored rows", "size", "runs"), h("tbody", { id: "checkpoints" })),
    h("h3", {}, "Cut of the ledger's last epoch"),
    h("div", { id: "state-cut-all", class: "cut-all", tabindex: 0, role: "region", "aria-label": "The cut of the ledger's last epoch" }));
}

function show({ place, checkpoints, ledger, cut }) {
  frame();
  const newest = checkpoints.reduce((newest, of) => (of.epoch > (newest?.epoch ?? 0) ? of : newest), null);
  const of = partitions(cut);
  text($("state-place"), place);
  text($("state-ledger"), ledger ? `epochs ${count(ledger.first)} to ${count(ledger.last)}, ${counted(ledger.entries, "entry", "entries")}` : "no epoch yet");
  text($("state-last-checkpoint"), newest ? `${span(since(newest.at))} ago; ${counted(Math.max(0, (ledger?.last ?? newest.epoch) - newest.epoch), "epoch")} since` : "none yet");
  text($("state-cut"), counted(of.length, "partition"));
  keyed($("checkpoints"), [...checkpoints].sort((a, b) => b.epoch - a.epoch), ({ epoch }) => epoch,
    () => h("tr", {}, h("th", { scope: "row" }), ["", "", "", ""].map(() => h("td", { class: "number" }))),
    (element, { epoch, at, rows, bytes: size, runs }) => {
      [count(epoch), moment(at), count(rows), bytes(size), count(runs)].forEach((value, index) => text(element.children[index], value));
    });
  const listed = of.slice(0, FEW).map(([topic, partition, offset]) => [`${topic}/${partition}`, `${topic}/${partition}: ${count(offset)}`]);
  const rest = of.length > FEW ? [["rest", `and ${counted(of.length - FEW, "partition")} more`]] : [];
  keyed($("state-cut-all"), [...listed, ...rest], ([name]) => name, () => h("span", { class: "offset" }), (element, [, value]) => text(element, value));
}
