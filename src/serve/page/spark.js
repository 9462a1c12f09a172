// Sparklines: small drawings of a number over time.

import { attribute, s } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;

/** Pairs of x and y, without those that are not known: a list of each stretch without a gap longer than `gap`. */
function stretches(points, gap) {
  const found = [];
  let last = null;
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) continue;
    if (last === null || x - last > gap) found.push([]);
    found.at(-1).push([x, y]);
    last = x;
  }
  return found;
}

/** At most `most` points, the largest of each group: a peak must not be lost. */
function thinned(points, most) {
  if (points.length <= most) return points;
  const size = Math.ceil(points.length / most);
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, index) =>
    points.slice(index * size, (index + 1) * size));
  return groups.map((group) => group.reduce((most, point) => (point[1] > most[1] ? point : most)));
}

/** An empty sparkline. `lines` of them are drawn over each other; the first is filled. */
export function sparkline(lines = 1) {
  const paths = [s("path", { class: "area" })];
  for (let line = 0; line < lines; line += 1) paths.push(s("path", { class: `line line-${line}` }));
  return s("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, paths);
}

/**
 * Draws lists of points into a sparkline. `from` and `to` are its ends, `gap` what is too long between two points.
 * Returns the largest value. With `zero` the bottom is 0, else the least value.
 */
export function draw(svg, lists, { from, to, gap = Infinity, zero = true }) {
  const all = lists.flat().filter(([x, y]) => Number.isFinite(y) && x >= from);
  const most = all.reduce((most, [, y]) => Math.max(most, y), zero ? 0 : -Infinity);
  const least = zero ? Math.min(0, ...all.map(([, y]) => y)) : all.reduce((least, [, y]) => Math.min(least, y), Infinity);
  const height = most - least || 1;
  const flat = most === least;
  const x = (value) => (((value - from) / (to - from || 1)) * WIDTH).toFixed(1);
  const y = (value) => (flat && !zero ? HEIGHT / 2 : HEIGHT - 3 - ((value - least) / height) * (HEIGHT - 8)).toFixed(1);
  const [area, ...lines] = svg.children;
  lines.forEach((line, index) => {
    const parts = stretches((lists[index] ?? []).filter(([at]) => at >= from), gap).map((part) => thinned(part, 150));
    const path = parts.map((part) => (part.length === 1
      ? `M${x(part[0][0])} ${y(part[0][1])}h0.1`
      : `M${part.map(([at, value]) => `${x(at)} ${y(value)}`).join("L")}`)).join("");
    attribute(line, "d", path);
    if (index === 0) {
      const filled = parts.map((part) =>
        `M${x(part[0][0])} ${HEIGHT}L${part.map(([at, value]) => `${x(at)} ${y(value)}`).join("L")}L${x(part.at(-1)[0])} ${HEIGHT}Z`);
      attribute(area, "d", filled.join(""));
    }
  });
  return all.length ? most : NaN;
}
