// The dataflow as a graph: from what the engine says of operators to rows in the order of the flow, with the lines that join them.

/** What each worker did between two answers, or in all where there is no earlier one. */
function between(now, before) {
  const earlier = new Map((before?.workers ?? []).map((of) => [of.worker, of]));
  return now.workers.map((of) => {
    const then = earlier.get(of.worker) ?? { busy: 0, rows_in: 0, rows_out: 0 };
    return { ...of, busy: Math.max(0, of.busy - then.busy), in: Math.max(0, of.rows_in - then.rows_in), out: Math.max(0, of.rows_out - then.rows_out) };
  });
}

/** The operators of the dataflow itself, each with those inside of it. */
export function forest(graph) {
  const nodes = new Map(graph.operators.map((of) => [of.id, { ...of, children: [] }]));
  const roots = [];
  for (const node of nodes.values()) {
    const parent = nodes.get(node.parent);
    if (parent) parent.children.push(node);
    else roots.push(node);
  }
  // What has all the others in it is the dataflow.
  const tops = roots.flatMap((root) => (root.children.length ? root.children : [root]));
  return { nodes, roots, tops: gathered(tops, graph.channels) };
}

/** The operators that only prepare for another one, "Exchange, for Arrange: lines", are shown in that one. */
function gathered(tops, channels) {
  const named = new Map(tops.map((node) => [node.id, node]));
  const readers = new Map();
  for (const { from, to } of channels) readers.set(from, [...(readers.get(from) ?? []), to]);
  const whose = (node, name, seen = new Set()) => {
    for (const id of readers.get(node.id) ?? []) {
      const next = named.get(id);
      if (!next || seen.has(id)) continue;
      seen.add(id);
      if (next.name === name) return next;
      const found = next.name.endsWith(`, for ${name}`) ? whose(next, name, seen) : undefined;
      if (found) return found;
    }
    return undefined;
  };
  const helpers = new Map();
  for (const node of tops) {
    const [, name] = /^.+?, for (.+)$/.exec(node.name) ?? [];
    const main = name && whose(node, name);
    if (main) helpers.set(node, main);
  }
  helpers.forEach((main, node) => main.children.push(node));
  return tops.filter((node) => !helpers.has(node));
}

/** Which of `tops` each operator is in. */
function homes(tops) {
  const home = new Map();
  const visit = (node, top) => {
    home.set(node.id, top.id);
    node.children.forEach((child) => visit(child, top));
  };
  tops.forEach((top) => visit(top, top));
  return home;
}

/** For each of `tops`, those that read from it, each once and in order; rows by edge. */
function edges(graph, tops) {
  const home = homes(tops);
  const targets = new Map(tops.map(({ id }) => [id, new Map()]));
  for (const { from, to, rows } of graph.channels) {
    const [source, target] = [home.get(from), home.get(to)];
    if (source === undefined || target === undefined || source === target) continue;
    const of = targets.get(source);
    of.set(target, (of.get(target) ?? 0) + (rows ?? 0));
  }
  return targets;
}

/** The order of the flow: what is read comes before what reads it, and a chain stays together. */
function ordered(tops, targets) {
  const waiting = new Map(tops.map(({ id }) => [id, 0]));
  for (const of of targets.values()) for (const target of of.keys()) waiting.set(target, waiting.get(target) + 1);
  const left = new Map(tops.map((node) => [node.id, node]));
  const ready = tops.filter(({ id }) => waiting.get(id) === 0).reverse();
  const order = [];
  while (left.size) {
    // In a loop nothing is ready: it is entered at its first operator.
    const node = ready.pop() ?? left.values().next().value;
    if (!left.delete(node.id)) continue;
    order.push(node);
    for (const target of [...targets.get(node.id).keys()].reverse()) {
      waiting.set(target, waiting.get(target) - 1);
      if (waiting.get(target) === 0 && left.has(target)) ready.push(left.get(target));
    }
  }
  return order;
}

/** A free place in `lanes`, at `near` or the first. */
function free(lanes, near) {
  if (lanes[near] === undefined) return near;
  const place = lanes.findIndex((lane) => lane === undefined);
  return place < 0 ? lanes.length : place;
}

/**
 * Lays lines beside the rows: a lane belongs to the operator that its line leads to. Each row has its node's lane and the lines
 * that cross it, `[from, to, part]`, where part is "upper", "lower" or "whole" and from and to are lanes.
 */
export function rails(order, targets) {
  const place = new Map(order.map((node, index) => [node.id, index]));
  const lanes = [];
  return order.map((node, index) => {
    const above = [...lanes];
    let lane = lanes.indexOf(node.id);
    const fed = lane >= 0;
    if (!fed) lane = free(lanes, lanes.length);
    lanes[lane] = undefined;
    const lines = fed ? [[lane, lane, "upper"]] : [];
    above.forEach((of, at) => of !== undefined && of !== node.id && lines.push([at, at, "whole"]));
    // Lines back, as a loop has them, are not drawn.
    const forward = [...targets.get(node.id).keys()].filter((target) => place.get(target) > index);
    for (const target of forward) {
      let to = lanes.indexOf(target);
      if (to < 0) {
        to = free(lanes, lane);
        lanes[to] = target;
      }
      lines.push([lane, to, "lower"]);
    }
    while (lanes.length && lanes.at(-1) === undefined) lanes.pop();
    const below = lanes.map((of, at) => (of === undefined ? -1 : at)).filter((at) => at >= 0);
    return { node, lane, lines, below };
  });
}

/** The same of an operator and all that are inside of it. A worker runs those while it runs the outer one. */
function whole(node) {
  const workers = new Map(node.spent.map((of) => [of.worker, { ...of }]));
  const visit = (child) => {
    for (const of of child.spent) {
      const sum = workers.get(of.worker);
      if (!sum) continue;
      sum.busy += of.busy;
      sum.arranged_rows = (sum.arranged_rows ?? 0) + (of.arranged_rows ?? 0);
      sum.arranged_bytes = (sum.arranged_bytes ?? 0) + (of.arranged_bytes ?? 0);
    }
    child.children.forEach(visit);
  };
  node.children.forEach(visit);
  return [...workers.values()];
}

/** Figures of an operator, over its workers. */
function figures(workers, seconds) {
  const sum = (name) => workers.reduce((sum, of) => sum + (of[name] ?? 0), 0);
  const busy = workers.map((of) => ({ worker: of.worker, share: seconds > 0 ? of.busy / seconds : 0 }));
  const mean = busy.reduce((sum, of) => sum + of.share, 0) / (busy.length || 1);
  const most = Math.max(0, ...busy.map((of) => of.share));
  return {
    busy,
    time: mean,
    most,
    in: seconds > 0 ? sum("in") / seconds : NaN,
    out: seconds > 0 ? sum("out") / seconds : NaN,
    rows: sum("arranged_rows"),
    bytes: sum("arranged_bytes"),
    // Of what takes no time nothing can be said.
    skew: busy.length > 1 && mean > 0.001 ? most / mean : NaN,
  };
}

/** What to show of an answer: `before` is an earlier one, `seconds` lie between them. */
export function model(graph, before, seconds) {
  const { nodes, roots, tops } = forest(graph);
  const earlier = new Map((before?.operators ?? []).map((of) => [of.id, of]));
  for (const node of nodes.values()) node.spent = between(node, earlier.get(node.id));
  for (const node of nodes.values()) node.figures = figures(whole(node), seconds);
  const targets = edges(graph, tops);
  const order = ordered(tops, targets);
  // The dataflow's own time is what it takes to call its operators.
  const own = roots.filter((root) => !tops.includes(root)).map((root) => ({ figures: figures(root.spent, seconds) }));
  return { tops, rows: rails(order, targets), workers: perWorker([...tops, ...own]), parts: descendants };
}

const descendants = (node) => node.children.flatMap((child) => [child, ...descendants(child)]);

/** How busy each worker is with all operators. */
function perWorker(tops) {
  const workers = new Map();
  for (const { figures } of tops) {
    for (const { worker, share } of figures.busy) workers.set(worker, (workers.get(worker) ?? 0) + share);
  }
  return [...workers].sort(([a], [b]) => a - b).map(([worker, share]) => ({ worker, share: Math.min(1, share) }));
}
