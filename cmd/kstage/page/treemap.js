
// The treemap: boxes in boxes, as large as what they stand for. Rows are filled so that
// boxes come out nearly square (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000).

const HEAD = 18, GAP = 2, SMALLEST = 5; // pixels
let measure = "s"; // s: contents, i: in the image
let here = []; // from the root to the directory that is shown
let drawn = 0; // the width of what is drawn

// squarify lays nodes out in a box and calls place(node, x, y, w, h) for each.
function squarify(nodes, x, y, w, h, place) {
  let left = nodes.reduce((sum, n) => sum + (n[measure] || 0), 0);
  nodes = nodes.filter((n) => n[measure] > 0).sort((a, b) => b[measure] - a[measure]);
  for (let i = 0; i < nodes.length && w > 0 && h > 0;) {
    const scale = w * h / left, side = Math.min(w, h);
    let row = 0, end = i, worst = Infinity;
    for (; end < nodes.length; end++) {
      const sum = (row + nodes[end][measure]) * scale;
      const ratio = Math.max(side * side * nodes[i][measure] * scale / (sum * sum), sum * sum / (side * side * nodes[end][measure] * scale));
      if (ratio > worst) break;
      worst = ratio;
      row += nodes[end][measure];
    }
    const thick = row * scale / side;
    for (let at = 0; i < end; i++) {
      const long = side * nodes[i][measure] / row;
      if (w >= h) place(nodes[i], x, y + at, thick, long);
      else place(nodes[i], x + at, y, long, thick);
      at += long;
    }
    if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
    left -= row;
  }
}

// mainKind is the kind that most of a directory's bytes are of.
function mainKind(node) {
  if (!node.c) return node.k;
  if (node.main === undefined) {
    const sums = new Map();
    for (const kid of node.c) sums.set(mainKind(kid), (sums.get(mainKind(kid)) || 0) + kid.s);
    node.main = [...sums].sort((a, b) => b[1] - a[1])[0][0];
  }
  return node.main;
}

const pathOf = (trail) => trail.slice(1).map((n) => n.n).join("/");

function describe(trail) {
  const node = trail[trail.length - 1], whole = data.tree[measure];
  const parts = [bytes(node.s)];
  if (data.image) parts.push(bytes(node.i || 0) + " in the image");
  if (whole > 0 && trail.length > 1) parts.push((100 * (node[measure] || 0) / whole).toFixed(1) + " % of all");
  if (node.c) parts.push(plural(node.f, "entry", "entries"));
  else parts.push(data.kinds[node.k]);
  return (pathOf(trail) || "all") + ": " + parts.join(" · ");
}

// tell says what a box is, with the way to the module if it is one.
function tell(trail) {
  byId("told").replaceChildren(describe(trail));
  const module = moduleAt(pathOf(trail));
  if (module) byId("told").append(" · ", html("a", { href: module }, "show the module"));
}

// choose looks into a directory, or tells of a file.
function choose(trail) {
  if (trail[trail.length - 1].c) location.hash = placeOf("space", ...trail.slice(1).map((n) => n.n));
  else tell(trail);
}

// only follows directories that have nothing but one directory in them.
function only(trail) {
  const kids = (trail[trail.length - 1].c || []).filter((n) => n[measure] > 0);
  return kids.length === 1 && kids[0].c ? only([...trail, kids[0]]) : trail;
}

// above is the directory that a trail is shown in.
function above(trail) {
  const up = trail.slice(0, -1);
  return up.length > 1 && only(up).length > up.length ? above(up) : up;
}

// box draws a node and what is in it.
function box(trail, x, y, w, h, top) {
  const from = trail.length - 1;
  trail = only(trail);
  const node = trail[trail.length - 1], name = trail.slice(from).map((n) => n.n).join("/");
  const open = node.c && w > 40 && h > HEAD + 16;
  const g = svg("g", { class: "box k" + (open ? 0 : mainKind(node)) + (node.c ? " dir" : "") },
    svg("rect", { x: x, y: y, width: w, height: h, rx: 2 }));
  if (top) fill(g, { tabindex: -1, role: "button", "aria-label": describe(trail) }, []);
  g.addEventListener("click", (e) => { e.stopPropagation(); choose(trail); });
  g.addEventListener("mouseover", (e) => { e.stopPropagation(); tell(trail); });
  g.addEventListener("focus", () => tell(trail));
  const label = h > 14 ? fit(name, w - 8) : "";
  if (label) g.append(svg("text", { x: x + 4, y: y + 13 }, label));
  if (open) inside(g, trail, x + GAP, y + HEAD, w - 2 * GAP, h - HEAD - GAP);
  g.trail = trail;
  return g;
}

function inside(g, trail, x, y, w, h, top) {
  squarify(trail[trail.length - 1].c || [], x, y, w, h, (kid, x, y, w, h) => {
    if (top || w >= SMALLEST && h >= SMALLEST) g.append(box([...trail, kid], x, y, w, h, top));
  });
}

function drawTreemap() {
  const width = byId("treemap").clientWidth, height = Math.max(300, Math.min(width * 0.62, 560));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Treemap of " + (pathOf(here) || "all") });
  inside(picture, here, 0, 0, width, height, true);
  if (picture.firstChild) picture.firstChild.setAttribute("tabindex", 0);
  else picture.append(svg("text", { x: 8, y: 24, fill: "currentColor" }, "There is nothing in it."));
  picture.addEventListener("keydown", treemapKey);
  byId("treemap").replaceChildren(picture);
  drawn = width;
}

// treemapKey goes through the boxes of the directory with the keyboard.
function treemapKey(e) {
  const boxes = [...e.currentTarget.children], at = boxes.indexOf(document.activeElement);
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (e.key in steps) {
    const next = boxes[(at + steps[e.key] + boxes.length) % boxes.length];
    if (boxes[at]) boxes[at].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  } else if (e.key === "Enter" || e.key === " ") choose(boxes[at].trail);
  else if (e.key === "Backspace" || e.key === "Escape") { if (here.length > 1) choose(above(here)); }
  else return;
  e.preventDefault();
}

function drawCrumbs() {
  const crumbs = byId("crumbs");
  crumbs.replaceChildren();
  here.forEach((node, i) => {
    if (i > 1) crumbs.append(html("span", {}, "/"));
    if (i === here.length - 1) crumbs.append(html("b", { "aria-current": "location" }, i ? node.n : "all"));
    else crumbs.append(html("button", { type: "button", onclick: () => choose(here.slice(0, i + 1)) }, i ? node.n : "all"), i ? "" : " ");
  });
}

// largest lists the n largest parts of a directory. One that is more than a fifth of it
// is told by its own parts.
function largest(trail, n) {
  const last = (t) => t[t.length - 1], weight = (t) => last(t)[measure] || 0;
  const parts = [], left = [trail];
  while (left.length) {
    const t = left.pop();
    if (t === trail || last(t).c && weight(t) > weight(trail) / 5) left.push(...(last(t).c || []).map((kid) => [...t, kid]));
    else if (weight(t) > 0) parts.push(t);
  }
  return parts.sort((a, b) => weight(b) - weight(a)).slice(0, n);
}

// drawLargest lists what the treemap shows, for those who would rather read.
function drawLargest() {
  const whole = here[here.length - 1][measure] || 1;
  byId("largest").replaceChildren(...largest(here, 10).map((trail) => {
    const node = trail[trail.length - 1], below = trail.slice(here.length).map((n) => n.n);
    const name = (below.length > 2 ? "…/" : "") + below.slice(-2).join("/") + (node.c ? "/" : "");
    return html("li", {},
      html("button", { type: "button", title: pathOf(trail), onclick: () => choose(trail) }, name),
      html("span", { class: "number" }, bytes(node[measure] || 0)),
      svg("svg", { class: "k" + mainKind(node), viewBox: "0 0 100 3", height: 5, preserveAspectRatio: "none", "aria-hidden": true },
        svg("rect", { width: 100 * node[measure] / whole, height: 3 })));
  }));
}

function drawSpace() {
  drawCrumbs();
  drawTreemap();
  drawLargest();
  tell(here);
}

// goToDirectory follows names from the root, as far as they lead.
function goToDirectory(names) {
  const hadFocus = byId("treemap").contains(document.activeElement);
  here = [data.tree];
  for (const name of names) {
    const kid = (here[here.length - 1].c || []).find((n) => n.n === name && n.c);
    if (!kid) break;
    here.push(kid);
  }
  drawSpace();
  if (here.length > 1) byId("space").scrollIntoView({ block: "nearest" });
  const first = byId("treemap").querySelector("[tabindex='0']");
  if (hadFocus && first) first.focus({ preventScroll: true });
}

function startTreemap() {
  here = [data.tree];
  places.space = goToDirectory;
  byId("measure").hidden = !data.image;
  for (const button of byId("measure").children) {
    button.addEventListener("click", () => {
      measure = button.dataset.measure;
      for (const b of byId("measure").children) b.setAttribute("aria-pressed", b === button);
      drawSpace();
    });
  }
  drawSpace();
  new ResizeObserver(() => { if (byId("treemap").clientWidth !== drawn) drawTreemap(); }).observe(byId("treemap"));
}
