// What the tests stand on: an in-process broker, runs of the built program, and a browser. What is started here is ended here.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const ROOT = path.join(import.meta.dirname, "../..");
const BUILT = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target"), "release");

/** How long anything may take on however busy a machine. Only a failing test waits that long. */
export const DEADLINE = 120_000;

/** Programs that run. */
const running = new Set();

/** Ends those that still do: of tests that failed. */
export const endAll = () => running.forEach((child) => child.kill("SIGKILL"));
process.on("exit", endAll);

function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  running.add(child);
  child.on("exit", () => running.delete(child));
  child.said = [];
  child.on("error", (error) => child.said.push(String(error)));
  child.lines = createInterface({ input: child.stderr });
  child.lines.on("line", (line) => child.said.push(line));
  return child;
}

/** The first line of a stream that `found` makes something of. */
async function lineOf(child, lines, found) {
  for (const line of child.said) if (found(line)) return found(line);
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`it has not said so:\n${child.said.join("\n")}`)), DEADLINE);
    lines.on("line", (line) => found(line) && (clearTimeout(late), resolve(found(line))));
    child.on("exit", (code) => (clearTimeout(late), reject(new Error(`it ended with ${code}:\n${child.said.join("\n")}`))));
  });
}

/** A broker with these topics, `name:partitions`. */
export async function broker(...topics) {
  const child = start(path.join(BUILT, "examples/broker"), topics);
  const address = await lineOf(child, createInterface({ input: child.stdout }), (line) => line.trim());
  return { address };
}

/** `cutwater run` with these arguments, and where its page is. */
export async function run(brokers, args, http = "127.0.0.1:0") {
  const child = start(path.join(BUILT, "cutwater"), ["run", ...args, "--brokers", brokers.address, "-X", "fetch.wait.max.ms=10", "--http", http]);
  child.stdout.resume();
  const url = await lineOf(child, child.lines, (line) => /listening on (http:\S+)/.exec(line)?.[1]);
  const ended = once(child, "exit");
  return {
    url,
    address: new URL(url).host,
    /** Ends it as a crash does. */
    kill: async () => (child.kill("SIGKILL"), await ended),
    /** Ends it as its user does. */
    stop: async () => (child.kill("SIGTERM"), await ended),
  };
}

/** Sends lines to a topic. */
export async function produce(brokers, topic, bytes, args = []) {
  const child = start(path.join(BUILT, "cutwater"), ["produce", "--brokers", brokers.address, "--topic", topic, ...args]);
  child.stdin.end(bytes);
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`cutwater produce ended with ${code}:\n${child.said.join("\n")}`);
}

/** `cutwater generate`, which goes on until it is stopped. */
export function generate(brokers, args) {
  const child = start(path.join(BUILT, "cutwater"), ["generate", ...args, "--brokers", brokers.address]);
  return { stop: async () => (child.kill("SIGTERM"), await once(child, "exit")) };
}

/** A browser. */
export function browser() {
  const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (!executablePath) throw new Error("there is no Chromium: install it, or name it in CHROMIUM");
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath, args });
}

export const SIZES = { laptop: { width: 1280, height: 800 }, phone: { width: 375, height: 812 } };

/** A page of a browser, with what it complained of. `before` is done to it before it asks for anything. */
export async function open(browser, url, { size = "laptop", scheme = "light", zone, before } = {}) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, reducedMotion: "reduce", timezoneId: zone });
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  // For work on the page: its parts as they are in that folder, not as they were built in.
  const parts = process.env.CUTWATER_PAGE;
  if (parts) await page.route("**/page/*", (route) => route.fulfill({ path: path.join(parts, path.basename(route.request().url())) }));
  await before?.(page);
  await page.goto(url);
  return page;
}

/** Asks the page again and again until what it says is `wanted`, or `wanted` holds of it. */
export async function until(page, say, wanted) {
  const holds = typeof wanted === "function" ? wanted : (said) => said === wanted;
  const end = Date.now() + DEADLINE;
  let said;
  while (Date.now() < end) {
    said = await say();
    if (holds(said)) return said;
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  throw new Error(`it says ${JSON.stringify(said)}, not ${wanted}`);
}
