// The page: asks the engine again and again, as `docs/http.md` describes, and shows what it says.

import { Gone, Refused, ask, askText, onTokenWanted, setToken } from "./api.js";
import { $, attribute, text } from "./dom.js";
import { moment, span } from "./format.js";
import * as letters from "./letters.js";
import * as operators from "./operators.js";
import * as outputs from "./outputs.js";
import * as state from "./state.js";
import * as status from "./status.js";

/** How long the word that the engine is back stays. */
const BACK = 15_000;

const run = { started: null, heard: null, gone: null, silent: false, totals: null, phase: null };

// ------------------------------------------------------------- gone, and back

function notice(kind, words) {
  const element = $("notice");
  attribute(element, "data-kind", kind);
  text(element, words);
  element.hidden = words === "";
  document.body.classList.toggle("gone", kind === "gone");
}

function isGone({ silent }) {
  const now = Date.now();
  // It is no more than silent for as long as something takes what it is asked.
  run.silent = silent && (run.gone === null || run.silent);
  run.gone ??= run.heard ?? now;
  text($("phase"), run.silent ? "no answer" : "gone");
  attribute($("phase"), "data-phase", "gone");
  const what = run.silent || run.heard === null ? "does not answer" : "is gone";
  const shown = run.heard === null ? "There is nothing to show yet." : "What is shown is what it said last.";
  // Words that change each second would be read out each second.
  notice("gone", `The engine ${what} since ${moment(new Date(run.gone))}. ${shown} It is asked again each second.`);
}

function isBack(now, another) {
  const away = span((now - run.gone) / 1000);
  const what = run.silent && !another ? "answers again" : "is back";
  notice("back", `The engine ${what} since ${moment(new Date(now))}, after ${away}${another ? "; it is another run of it" : ""}.`);
  run.gone = null;
  setTimeout(() => run.gone === null && run.phase !== "failed" && notice("back", ""), BACK);
}

// --------------------------------------------------------------------- asking

async function askStatus() {
  let answer;
  try {
    answer = await ask("v1/status");
  } catch (error) {
    if (error instanceof Gone) isGone(error);
    else if (error instanceof Refused && error.status !== 401) notice("failed", error.message);
    throw error;
  }
  const now = Date.now();
  const another = run.started !== null && run.started !== answer.started_at;
  if (another) [status, operators, outputs, letters].forEach((part) => part.reset());
  const waits = run.heard === null || run.gone !== null;
  if (run.gone !== null) isBack(now, another);
  if (answer.phase === "failed") notice("failed", `The run has failed${answer.error ? `: ${answer.error}` : ""}.`);
  else if (run.phase === "failed") notice("back", "");
  Object.assign(run, { started: answer.started_at, heard: now, totals: answer.totals, phase: answer.phase });
  status.show(answer);
  // The others wait for the first answer, and for the first after the engine was gone.
  if (waits) wakeAll();
}

async function askGraph() {
  try {
    operators.show(await ask("v1/graph"), run.started);
  } catch (error) {
    if (error instanceof Refused && error.status !== 401) operators.none(error.message);
    throw error;
  }
}

async function askOutputs() {
  // Before that there is no answer.
  if (!run.totals?.epochs && !run.totals?.reread_epochs) {
    text($("rows-note"), "No epoch is published yet.");
    return;
  }
  if (run.phase === "replaying") {
    text($("rows-note"), "The run reads again what a run before had read: its rows can be had once that is done.");
    return;
  }
  try {
    await outputs.update();
  } catch (error) {
    if (error instanceof Refused && error.status !== 401) text($("rows-note"), error.message);
    throw error;
  }
}

/** What a metric has, all its labels together; undefined where there is no such metric. */
function metric(all, name) {
  const values = all.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return values.length ? values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0) : undefined;
}

/** What the process takes, which its operators are only a part of. */
async function askMemory() {
  const all = await askText("metrics");
  operators.memory({ resident: metric(all, "process_resident_memory_bytes"), views: metric(all, "cutwater_view_bytes") ?? outputs.held() });
}

// Turns of asking, each after the one before.
const TURNS = [
  { every: 1000, ask: askStatus, whileGone: true },
  { every: 1000, ask: askOutputs },
  { every: 2000, ask: askGraph },
  { every: 2000, ask: () => letters.update(run.totals?.dead_letters) },
  { every: 5000, ask: state.update },
  { every: 5000, ask: askMemory },
];

const wake = new Set();
let locked = false;

const pause = (time) => new Promise((resume) => {
  const timer = setTimeout(() => done(), time);
  const done = () => {
    clearTimeout(timer);
    wake.delete(done);
    resume();
  };
  wake.add(done);
});

async function turn({ every, ask: once, whileGone }) {
  for (;;) {
    // A page that nobody sees asks for nothing, and one that has no token for nothing but that.
    if (!document.hidden && !locked && (whileGone || (run.heard !== null && run.gone === null))) {
      try {
        await once();
      } catch (error) {
        if (!(error instanceof Gone || error instanceof Refused)) console.error(error);
      }
    }
    await pause(every);
  }
}

const wakeAll = () => [...wake].forEach((done) => done());
document.addEventListener("visibilitychange", () => document.hidden || wakeAll());

// ---------------------------------------------------------------- the token

onTokenWanted((wrong) => {
  locked = true;
  if (wrong) text($("ask-why"), "That is not the token. It is in the file that the run was given with --http-token-file.");
  if (!$("ask").open) $("ask").showModal();
});
$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  $("token").value = "";
  $("ask").close();
  locked = false;
  wakeAll();
});
// There is nothing behind it to go back to.
$("ask").addEventListener("cancel", (event) => event.preventDefault());

TURNS.forEach(turn);
