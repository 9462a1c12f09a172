// Dead letters: how many for which reason, and the newest with their bytes.

import { ask } from "./api.js";
import { $, attribute, h, keyed, part, text } from "./dom.js";
import { count, counted } from "./format.js";

/** Dead letters that are asked for. */
const SHOWN = 50;
/** Bytes of a letter that are drawn. */
const DRAWN = 1024;

let seen = -1;

export function reset() {
  seen = -1;
}

/** Asks for them, where their number is another one. */
export async function update(total) {
  if (total === seen) return;
  const answer = await ask("v1/dead-letters", { limit: SHOWN });
  seen = total ?? answer.total;
  show(answer);
}

function show({ total, by_reason: reasons, dead_letters: letters }) {
  text($("letters-total"), total ? `${counted(total, "record")} could not be used` : "none: every record could be read");
  const most = Math.max(1, ...reasons.map(({ count }) => count));
  const bars = () => h("p", { class: "reason" }, h("span", { class: "why" }), h("span", { class: "bar" }, h("span", { class: "fill" })), h("b", { class: "number" }));
  keyed($("reasons"), reasons, ({ reason }) => reason, bars, (element, { reason, count: times }) => {
    const [why, bar, number] = element.children;
    text(why, reason);
    part(bar.firstElementChild, times / most);
    text(number, count(times));
  });
  keyed($("letters"), letters, ({ epoch, topic, partition, offset }) => `${epoch} ${topic}/${partition}/${offset}`, letter, null);
}

function letter(of) {
  const place = of.offset >= 0 ? `${of.topic}/${of.partition} @ ${count(of.offset)}` : `a row for ${of.topic}`;
  const value = decoded(of.bytes);
  const body = h("div", { class: "bytes" });
  const details = h("details", { class: "letter" },
    h("summary", {}, h("b", {}, place), " ", h("span", { class: "quiet" }, `epoch ${count(of.epoch)}`), h("span", { class: "why" }, of.reason)),
    body);
  // Drawn when somebody looks.
  details.addEventListener("toggle", () => {
    if (!details.open || body.firstChild) return;
    if (of.key !== undefined && of.key !== null) body.append(...contents("key", decoded(of.key), false));
    body.append(...contents("value", value, of.truncated));
  });
  return details;
}

function contents(what, bytes, truncated) {
  if (bytes === null) return [h("p", {}, `The ${what} is null.`)];
  const drawn = bytes.subarray(0, DRAWN);
  const cut = truncated || drawn.length < bytes.length;
  const lines = [];
  for (let at = 0; at < drawn.length; at += 16) lines.push(line(at, drawn.subarray(at, at + 16)));
  const dump = h("pre", { tabindex: 0, role: "group", "aria-label": `The ${what}'s bytes` }, lines.join("\n") || "no bytes");
  const said = h("pre", { class: "text", tabindex: 0, role: "group", "aria-label": `The ${what} as text` }, new TextDecoder().decode(drawn) || " ");
  return [h("h3", {}, `${what}: ${counted(bytes.length, "byte")}${cut ? ", of which this is the beginning" : ""}`), said, dump];
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

/** A line of a dump: where, the bytes, and those that are printable ASCII. */
function line(at, bytes) {
  const codes = [...bytes].map(hex).join(" ").padEnd(47);
  const shown = [...bytes].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
  return `${at.toString(16).padStart(4, "0")}  ${codes}  ${shown}`;
}

/** The bytes of a base 64 text; null where there are none. */
function decoded(base64) {
  if (base64 === null || base64 === undefined) return null;
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
