// What the values of rows have been, as far as this page has heard: for their sparklines.

import { number } from "./format.js";

/** Points that are kept of a row. */
const MOST = 240;
/** Rows that are kept. */
const ROWS = 2000;

export class Past {
  #rows = new Map();
  #asked = new Set();
  #oldest = Infinity;

  /** Another output is looked at. */
  begin() {
    this.#rows.clear();
    this.#asked.clear();
    this.#oldest = Infinity;
  }

  /** The key of a row, as text. */
  keyOf({ key, columns }, row) {
    const names = key.length ? key : columns.map(({ name }) => name);
    return JSON.stringify(names.map((name) => row[name]));
  }

  /** True once for each question: its past was not asked for yet. */
  wants(output, column, question) {
    const name = JSON.stringify([output.name, column, question]);
    if (this.#asked.has(name)) return false;
    this.#asked.add(name);
    return true;
  }

  /** Notes what a column of rows is as of an epoch. */
  add(output, column, epoch, rows) {
    if (column === "") return;
    this.#oldest = Math.min(this.#oldest, epoch);
    for (const row of rows) {
      const name = JSON.stringify([output.name, column, this.keyOf(output, row)]);
      const points = this.#rows.get(name) ?? [];
      if (!this.#rows.has(name)) this.#rows.set(name, points);
      if (points.some(([at]) => at === epoch)) continue;
      points.push([epoch, number(row[column])]);
      points.sort(([a], [b]) => a - b);
      // Every other one goes: the curve stays.
      if (points.length > MOST) points.splice(0, points.length, ...points.filter((_, index) => index % 2 === 0 || index === points.length - 1));
    }
    while (this.#rows.size > ROWS) this.#rows.delete(this.#rows.keys().next().value);
  }

  /** What is known of a row: pairs of epoch and value. */
  of(output, column, row) {
    return this.#rows.get(JSON.stringify([output.name, column, this.keyOf(output, row)])) ?? [];
  }

  /** The oldest epoch of which anything is known. */
  oldest() {
    return this.#oldest;
  }
}
