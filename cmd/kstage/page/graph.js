
// The graph of one module: who needs it on the left, what it needs on the right. A
// module stands right of all that need it, so that edges lead from left to right.

const ROW = 28, TALL = 22; // pixels

// reach collects what is at most depth steps away, and how many steps the longest way
// among them has, also at most depth. next gives the neighbours.
function reach(from, depth, next) {
  const found = new Set([from]);
  let edge = [from];
  for (let d = 0; d < depth && edge.length; d++) {
    edge = [...new Set(edge.flatMap(next))].filter((i) => !found.has(i));
    for (const i of edge) found.add(i);
  }
  const level = new Map([[from, 0]]);
  for (const i of inOrder(from, found, next)) {
    for (const j of next(i)) if (found.has(j)) level.set(j, Math.min(depth, Math.max(level.get(j) || 0, level.get(i) + 1)));
  }
  return level;
}

// inOrder lists what is found so that each stands behind all that lead to it. There are
// no circles: modules that have one could not be loaded, and have no dependencies here.
function inOrder(from, found, next) {
  const seen = new Set([from]), order = [], stack = [[from, next(from)[Symbol.iterator]()]];
  while (stack.length) {
    const [node, rest] = stack[stack.length - 1], { value, done } = rest.next();
    if (done) { order.push(node); stack.pop(); }
    else if (found.has(value) && !seen.has(value)) { seen.add(value); stack.push([value, next(value)[Symbol.iterator]()]); }
  }
  return order.reverse();
}

// columns sorts modules by level, -n to n, the ones with the most neighbours first.
function columns(kernel, i, depth, most) {
  const levels = reach(i, depth, (n) => kernel.after[n]);
  for (const [n, l] of reach(i, depth, (n) => kernel.users[n])) if (n !== i) levels.set(n, -l);
  for (const [n] of kernel.modules[i].o || []) if (!levels.has(n)) levels.set(n, 1);
  const by = new Map();
  for (const [n, l] of levels) by.set(l, [...(by.get(l) || []), n]);
  return [...by].sort((a, b) => a[0] - b[0]).map(([level, nodes]) => {
    nodes.sort((a, b) => kernel.users[b].length - kernel.users[a].length || a - b);
    const shown = nodes.length > most ? nodes.slice(0, most - 1) : nodes;
    return { level, shown, rest: nodes.length - shown.length };
  });
}

function drawGraph(kernel, i, depth, width) {
  const cols = columns(kernel, i, depth, 14), narrow = width < 560;
  const gap = narrow ? 22 : 56, wide = Math.min(170, Math.max(narrow ? 92 : 120, (width - 16 - gap * (cols.length - 1)) / cols.length));
  const rows = Math.max(...cols.map((c) => c.shown.length + (c.rest ? 1 : 0)));
  const height = rows * ROW + 34, full = 16 + cols.length * wide + (cols.length - 1) * gap;
  const at = new Map(), nodes = svg("g"), edges = svg("g");
  cols.forEach((col, c) => {
    const x = 8 + c * (wide + gap), count = col.shown.length + (col.rest ? 1 : 0);
    const top = 26 + (rows - count) * ROW / 2;
    col.shown.forEach((n, row) => at.set(n, { x, y: top + row * ROW, level: col.level }));
    if (col.rest) nodes.append(graphNode({ class: "node rest" }, "g", x, top + (count - 1) * ROW, wide, "+ " + plural(col.rest, "more", "more")));
  });
  for (const [n, p] of at) nodes.append(moduleNode(kernel, n, i, p, wide, edges));
  for (const [n, p] of at) graphEdges(kernel, n, p, i, at, wide, edges);
  return svg("svg", { width: Math.max(full, 16), height, viewBox: `0 0 ${full} ${height}`, role: "group", "aria-label": "Graph of the dependencies of " + kernel.modules[i].n },
    heading(cols, wide, gap, -1, "needed by"), heading(cols, wide, gap, 1, "needs"), edges, nodes);
}

function heading(cols, wide, gap, level, text) {
  const c = cols.findIndex((col) => col.level === level);
  return c < 0 ? "" : svg("text", { class: "heading", x: 8 + c * (wide + gap), y: 16 }, text);
}

function graphNode(attributes, tag, x, y, wide, text) {
  return svg(tag, attributes, svg("rect", { x, y, width: wide, height: TALL, rx: 5 }), svg("text", { x: x + 7, y: y + 15 }, fit(text, wide - 12)));
}

function moduleNode(kernel, n, focus, p, wide, edges) {
  const m = kernel.modules[n];
  const kind = "node" + (n === focus ? " focus" : "") + (m.x === 1 || m.x === 2 ? " bad" : "");
  const g = graphNode({ class: kind, href: placeOf("module", kernel.version, m.n) }, "a", p.x, p.y, wide, m.n);
  g.prepend(svg("title", {}, m.n + (m.d ? ": " + m.d : "")));
  const light = (on) => () => { for (const e of edges.children) if (e.ends.includes(n)) e.classList.toggle("lit", on); };
  for (const [on, name] of [[true, "mouseenter"], [true, "focus"], [false, "mouseleave"], [false, "blur"]]) g.addEventListener(name, light(on));
  return g;
}

// graphEdges draws what a module needs. Edges past the module in the middle are left out.
function graphEdges(kernel, n, p, focus, at, wide, edges) {
  const draw = (to, kind, title) => {
    const q = at.get(to);
    if (!q || q.level <= p.level || p.level < 0 && q.level > 0) return;
    const x1 = p.x + wide, y1 = p.y + TALL / 2, y2 = q.y + TALL / 2, mid = (q.x - x1) / 2;
    const path = svg("path", { class: "edge" + kind, d: `M${x1} ${y1}C${x1 + mid} ${y1} ${q.x - mid} ${y2} ${q.x} ${y2}` }, svg("title", {}, title));
    path.ends = [n, to];
    edges.append(path);
  };
  const m = kernel.modules[n];
  for (const [to, symbol] of m.r || []) draw(to, "", `${m.n} needs ${symbol} of ${kernel.modules[to].n}`);
  if (n === focus) for (const [to, when] of m.o || []) draw(to, " soft", `${m.n} wants ${kernel.modules[to].n} ${when === "pre" ? "before" : "after"} itself (softdep)`);
}
