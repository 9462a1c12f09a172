// The page of a run, in a real Chromium, on the in-process broker.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { broker, browser, endAll, open, produce, run, SIZES, until } from "./support.js";

const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core")), "utf8");

let chromium;
let brokers;
const state = mkdtempSync(path.join(tmpdir(), "cutwater-page-"));

before(async () => {
  [chromium, brokers] = await Promise.all([browser(), broker("seen:2", "hostile:1", "gone:1", "slow:1", "secret:1", "looks:2")]);
});
after(async () => {
  await chromium.close();
  endAll();
  rmSync(state, { recursive: true });
});

/** Words of the table, with their counts. */
const rows = (page) => () => page.locator("#rows tbody tr").evaluateAll((all) =>
  all.map((row) => `${row.cells[0].textContent} ${row.cells[1].textContent}`).join(", "));

const wordCount = (topic, ...more) => ["word-count", "-t", topic, "-o", "none", "--epoch", "20ms", ...more];

test("it shows what a run does and has come to, and goes on", async () => {
  const engine = await run(brokers, wordCount("seen", "-w", "2", "--state", state, "--checkpoint", "100ms"));
  const page = await open(chromium, engine.url);
  await produce(brokers, "seen", "to be or not to be\n");
  await until(page, rows(page), "be 2, to 2, not 1, or 1");
  await until(page, () => page.title(), "word-count · Cutwater");
  await until(page, () => page.locator("#phase").textContent(), "running");
  await until(page, () => page.locator("#size").textContent(), "2 workers");

  await produce(brokers, "seen", "be\n");
  await until(page, rows(page), "be 3, to 2, not 1, or 1");
  await until(page, () => page.locator("#partitions tr").count(), 2);
  await until(page, () => page.locator(".tile", { has: page.getByText("Records", { exact: true }) }).locator(".more-of").textContent(), (said) => said.startsWith("2 records"));

  await searches(page);
  await scrubs(page);
  await tellsOfOperators(page);
  await tellsOfDeadLetters(page);
  await tellsOfTheState(page);
  assert.deepEqual(page.complaints, []);
  await engine.stop();
});

async function searches(page) {
  const search = page.getByRole("searchbox", { name: "Key to search for" });
  await search.fill("b");
  await until(page, rows(page), "be 3");
  await search.fill("o");
  await until(page, rows(page), "or 1");
  await search.fill("none such");
  await until(page, () => page.locator("#rows-count").textContent(), "no row has such a key");
  await page.getByLabel("How the key is compared").selectOption("key");
  await search.fill("to");
  await until(page, rows(page), "to 2");
  await search.fill("");
  await until(page, rows(page), "be 3, to 2, not 1, or 1");
  await page.getByLabel("order").selectOption("asc");
  await until(page, rows(page), "not 1, or 1, to 2, be 3");
  await page.getByLabel("order").selectOption("desc");
}

/** Back to what was, epoch by epoch, and forward to now. */
async function scrubs(page) {
  const slider = page.getByRole("slider", { name: "as of epoch" });
  const now = page.getByRole("button", { name: "now" });
  await slider.focus();
  await page.keyboard.press("Home");
  await until(page, rows(page), "be 2, to 2, not 1, or 1");
  assert.equal(await now.getAttribute("aria-pressed"), "false");
  await page.keyboard.press("End");
  await until(page, rows(page), "be 3, to 2, not 1, or 1");
  await page.keyboard.press("Home");
  await until(page, rows(page), "be 2, to 2, not 1, or 1");
  // It stays there, whatever comes.
  await produce(brokers, "seen", "be\n");
  await until(page, () => slider.getAttribute("aria-valuetext"), (said) => /^epoch 1,/.test(said));
  assert.equal(await rows(page)(), "be 2, to 2, not 1, or 1");
  await now.click();
  await until(page, rows(page), "be 4, to 2, not 1, or 1");
  assert.equal(await now.getAttribute("aria-pressed"), "true");
}

async function tellsOfOperators(page) {
  const names = () => page.locator("#operators tbody tr .name").allTextContents();
  await until(page, names, (all) => all.some((name) => name === "Source: lines") && all.some((name) => name === "Publish"));
  // What reads comes after what it reads from, and a line joins them.
  const all = await names();
  assert.ok(all.indexOf("Source: lines") < all.indexOf("Publish"), all.join(", "));
  assert.ok(await page.locator("#operators .rails path").count() > 3);
  await page.getByRole("button", { name: "memory" }).click();
  const heads = page.locator("#operators thead th");
  assert.equal(await heads.nth(5).getAttribute("aria-sort"), "descending");
  await until(page, () => page.locator("#verdict").textContent(), (said) => /Most memory/.test(said));
  const button = page.locator("#operators tbody .name").first();
  await button.click();
  assert.equal(await button.getAttribute("aria-expanded"), "true");
  await until(page, () => page.locator("#operators .inside").allTextContents(), (said) => said.some((line) => line.startsWith("on worker 1")));
  await page.getByRole("button", { name: "operator", exact: true }).click();
}

async function tellsOfDeadLetters(page) {
  await until(page, () => page.locator("#letters-total").textContent(), (said) => said.startsWith("none"));
  await produce(brokers, "seen", Buffer.from([0x61, 0x62, 0xff, 0xfe, 0x0a]));
  await until(page, () => page.locator("#letters-total").textContent(), "1 record could not be used");
  const letter = page.locator("#letters details");
  assert.match(await letter.locator(".why").textContent(), /UTF-8/);
  await letter.locator("summary").click();
  // A browser tells the page a moment later that it was opened.
  await until(page, () => letter.textContent(), (said) => said.includes("value: 4 bytes"));
  assert.match(await letter.getByLabel("The value's bytes").textContent(), /^0000 {2}61 62 ff fe +ab··$/);
}

async function tellsOfTheState(page) {
  await until(page, () => page.locator("#state-place").textContent(), state);
  await until(page, () => page.locator("#checkpoints tr").count(), (count) => count > 0);
  await until(page, () => page.locator("#state-ledger").textContent(), (said) => /^epochs 1 to [0-9,]+/.test(said));
  await until(page, () => page.locator("#state-cut-all").textContent(), (said) => /seen\/[01]: [0-9]/.test(said));
}

test("what comes from data is text", async () => {
  const engine = await run(brokers, wordCount("hostile"));
  const page = await open(chromium, engine.url);
  const word = "<img/src=x/onerror=document.title='read'><b>";
  await produce(brokers, "hostile", `${word}\n`);
  await until(page, rows(page), `${word} 1`);
  assert.equal(await page.locator("#rows img, #rows tbody b").count(), 0);
  await until(page, () => page.title(), "word-count · Cutwater");
  assert.deepEqual(page.complaints, []);
  await engine.kill();
});

test("it says so when the engine is gone, and goes on when it is back", async () => {
  let engine = await run(brokers, wordCount("gone"));
  const page = await open(chromium, engine.url);
  await produce(brokers, "gone", "a a\n");
  await until(page, rows(page), "a 2");
  assert.deepEqual(page.complaints, []);
  const { address } = engine;
  await engine.kill();
  const notice = page.getByRole("alert");
  await until(page, () => notice.textContent(), (said) => /^The engine is gone since \d\d:\d\d:\d\d\./.test(said));
  await until(page, () => page.locator("#phase").textContent(), "gone");
  assert.equal(await rows(page)(), "a 2", "what it said last stays");

  engine = await run(brokers, wordCount("gone"), address);
  await until(page, () => notice.textContent(), (said) => /^The engine is back .*another run/.test(said));
  await produce(brokers, "gone", "a b\n");
  await until(page, rows(page), "a 3, b 1");
  await until(page, () => page.locator("#phase").textContent(), "running");
  // The browser itself notes each question that nobody answers.
  assert.deepEqual(page.complaints.filter((said) => !/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_SOCKET/.test(said)), []);
  await engine.kill();
});

test("an engine that only takes its time is not gone", async () => {
  const engine = await run(brokers, wordCount("slow"));
  // Nobody waits ten seconds here.
  const page = await open(chromium, engine.url, { before: (page) => page.addInitScript(() => {
    const { timeout } = AbortSignal;
    AbortSignal.timeout = () => timeout.call(AbortSignal, 300);
  }) });
  await until(page, () => page.locator("#phase").textContent(), "running");
  const [notice, silent] = [page.getByRole("alert"), () => {}];
  await page.route("**/v1/status", silent);
  await until(page, () => notice.textContent(), (said) => /^The engine does not answer since \d\d:\d\d:\d\d\./.test(said));
  await until(page, () => page.locator("#phase").textContent(), "no answer");
  await page.unroute("**/v1/status", silent);
  await until(page, () => notice.textContent(), (said) => /^The engine answers again since /.test(said));
  await page.context().close();
  await engine.kill();
});

/** Has the page read other answers: `change` is given each. */
const answering = (page, path, change) => page.route(`**/${path}`, async (route) => {
  const response = await route.fetch();
  const type = response.headers()["content-type"];
  if (response.ok() && type.includes("json")) await route.fulfill({ response, json: change(await response.json()) });
  else await route.fulfill({ response, body: response.ok() ? change(await response.text()) : undefined });
});

test("what the run waited for is said of a span that is known, and never more than all of it", async () => {
  const engine = await run(brokers, wordCount("slow", "-w", "2"));
  // Faster than the clock, as of an answer that was long under way.
  let asked = 0;
  const changed = (status) => {
    asked += 1;
    return { ...status, blocked: { sink: 100 + 5 * asked, ledger: 40, bounds: 5 * asked } };
  };
  const page = await open(chromium, engine.url, { before: (page) => answering(page, "v1/status", changed) });
  await until(page, () => asked, (asked) => asked >= 2);
  const waits = () => page.locator("#waits").textContent();
  const said = await until(page, waits, (said) => said !== "");
  const [, span, rest] = /^Of the last ([0-9.]+) s, (.*)$/.exec(said) ?? [said];
  assert.ok(Number(span) >= 2, said);
  assert.equal(rest, "an epoch waited for the sinks 100 % and for the ledger 0 %; workers read nothing 100 %, since their epochs were full.");
  await page.context().close();
  await engine.kill();
});

test("it says where the memory is that no operator has, of how long the watermark's past is, and in which zone times are", async () => {
  const engine = await run(brokers, wordCount("slow"));
  await produce(brokers, "slow", `${"the cat and the hat sat on the mat\n".repeat(50)}`);
  const points = Array.from({ length: 60 }, (_, second) => ({
    at: new Date(Date.now() - 1000 * (60 - second)).toISOString(), epoch: 1, records_per_second: 0, rows_per_second: 0, lag: 0,
    latency_p50: null, latency_p99: null, watermark_lag: 77,
  }));
  const page = await open(chromium, engine.url, { zone: "Asia/Tokyo", before: async (page) => {
    await answering(page, "v1/status", (status) => ({ ...status, history: points }));
    await answering(page, "v1/outputs", (answer) => ({ ...answer, outputs: answer.outputs.map((output) => ({ ...output, bytes: 300 * 1024 * 1024 })) }));
    // What the process takes is as it is; views have no metric here.
    await answering(page, "metrics", (text) => text.split("\n").filter((line) => !line.includes("cutwater_view_bytes")).join("\n"));
  } });
  const memory = () => page.locator("#verdict li", { hasText: "memory" }).textContent();
  await until(page, memory, (said) => /^Most memory views of outputs 300 MiB, with --view-history; operators [0-9.]+ .?i?B, most of it .+; process 0 takes [0-9.]+ MiB in all$/.test(said));
  await until(page, () => page.locator("#rows-count").textContent(), (said) => said.endsWith("All rows at all epochs held take 300 MiB."));
  const tile = page.locator(".tile", { has: page.getByText("Watermark lag", { exact: true }) });
  await until(page, () => tile.locator(".most").textContent(), "most 77 s");
  assert.equal(await page.locator("#zone").textContent(), "times are UTC+9, Asia/Tokyo");
  await until(page, () => page.locator("#closed").textContent(), (said) => said.endsWith(" UTC+9"));
  assert.deepEqual(page.complaints.filter((said) => !/status of 503/.test(said)), []);
  await page.context().close();
  await engine.kill();
});

test("workers are even only where they are", async () => {
  const engine = await run(brokers, wordCount("slow", "-w", "2"));
  let seconds = [576, 540];
  const spent = (worker, busy) => ({ worker, busy, runs: 1, rows_in: 0, rows_out: 0, arranged_rows: 0, arranged_bytes: 0 });
  const operator = (id, name, parent, busy) => ({ id, name, path: name, parent, skew: 1, workers: busy.map((busy, worker) => spent(worker, busy)) });
  const page = await open(chromium, engine.url, { before: async (page) => {
    // Of an hour.
    await answering(page, "v1/status", (status) => ({ ...status, started_at: new Date(Date.now() - 3_600_000).toISOString() }));
    await answering(page, "v1/graph", () => ({ operators: [operator(1, "word-count", null, [0, 0]), operator(2, "Count", 1, seconds)], channels: [] }));
  } });
  await page.locator("#span").selectOption("all");
  const said = (wanted) => until(page, () => page.locator("#verdict").textContent(), (said) => said.includes(wanted));
  await said("Workers are even worker 0 16 % busy, 1.0 × the mean");
  seconds = [576, 216];
  await said("One worker has most worker 0 16 % busy, 1.5 × the mean");
  seconds = [576, 430];
  await said("Busiest worker 0 16 % busy, 1.1 × the mean");
  await page.context().close();
  await engine.kill();
});

test("where the engine wants a token, the page asks for it, and this tab alone keeps it", async () => {
  const file = path.join(state, "token");
  writeFileSync(file, "5ec7e70123456789abcdef0123456789\n", { mode: 0o600 });
  const engine = await run(brokers, [...wordCount("secret"), "--http-token-file", file]);
  await produce(brokers, "secret", "a a\n");
  const page = await open(chromium, engine.url);
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("token").fill("another one");
  await page.keyboard.press("Enter");
  await until(page, () => dialog.textContent(), (said) => /That is not the token/.test(said));
  await dialog.getByLabel("token").fill("5ec7e70123456789abcdef0123456789");
  await page.keyboard.press("Enter");
  await until(page, rows(page), "a 2");
  assert.equal(await dialog.isVisible(), false);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ""]);
  // The browser itself notes each answer 401.
  assert.deepEqual(page.complaints.filter((said) => !/status of 401/.test(said)), []);
  await engine.kill();
});

test("all of it can be used by keyboard, and nothing is found against it for those who see little or nothing", async () => {
  const engine = await run(brokers, wordCount("looks", "-w", "2"));
  await produce(brokers, "looks", `${"the cat and the hat sat on the mat\n".repeat(50)}`);
  await produce(brokers, "looks", Buffer.from([0xff, 0x0a]));
  for (const size of Object.keys(SIZES)) {
    for (const scheme of ["light", "dark"]) {
      const page = await open(chromium, engine.url, { size, scheme });
      await until(page, rows(page), (said) => said.startsWith("the 150"));
      await until(page, () => page.locator("#letters details").count(), 1);
      await until(page, () => page.locator("#operators tbody tr").count(), (count) => count > 3);
      await page.locator("#letters summary").click();
      await page.locator("#operators tbody .name").first().click();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, `${size}: the page is wider than the screen`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
      assert.deepEqual(found, [], `${size}, ${scheme}`);
      assert.deepEqual(page.complaints, []);
      if (size === "laptop" && scheme === "light") await byKeyboard(page);
      await page.context().close();
    }
  }
  await engine.kill();
});

/** Goes through all that can be used, and uses some of it. */
async function byKeyboard(page) {
  const there = () => page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && style.outlineStyle !== "none";
    return { name: element.id || element.getAttribute("aria-label") || element.textContent.trim().slice(0, 30), tag: element.tagName, seen };
  });
  await page.reload();
  await until(page, rows(page), (said) => said.startsWith("the 150"));
  await until(page, () => page.locator("#letters details").count(), 1);
  const reached = [];
  for (let presses = 0; presses < 120; presses += 1) {
    await page.keyboard.press("Tab");
    const { name, tag, seen } = await there();
    if (tag === "BODY") break;
    reached.push(name);
    assert.ok(seen, `${tag} ${name} has the focus, and it can't be seen`);
    if (name === "text") await page.keyboard.type("ma");
    if (name === "scrub") await page.keyboard.press("ArrowLeft");
    if (name === "live") await page.keyboard.press("Enter");
  }
  for (const wanted of ["Skip to the figures", "output", "by", "order", "how", "text", "scrub", "live", "span", "memory", "API"]) {
    assert.ok(reached.includes(wanted), `${wanted} is not reached: ${reached.join(", ")}`);
  }
  await until(page, rows(page), "mat 50");
}
