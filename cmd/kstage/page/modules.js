
// The list of the modules, and what there is to say of one.

const PAGE = 60; // rows that are drawn at once
const NEVER = { 1: "would not load", 2: "would crash" };
const list = { kernel: null, current: -1, column: 0, down: false, rows: PAGE, depth: 1 };
const collator = new Intl.Collator("en", { numeric: true });

// Columns: heading, class, what is sorted by, what is shown.
const COLUMNS = [
  ["Name", "", (m) => m.n],
  ["Size", "number", (m) => m.s, (m) => bytes(m.s)],
  ["Needs", "number", (m) => (m.r || []).length],
  ["Needed by", "number", (m) => list.kernel.users[m.at].length],
];

// link works out who needs whom. after is what stands right of a module in the graph.
function linkModules(kernel) {
  kernel.users = kernel.modules.map(() => []);
  kernel.after = kernel.modules.map((m) => [...new Set((m.r || []).map((r) => r[0]))]);
  kernel.modules.forEach((m, i) => {
    m.at = i;
    for (const to of kernel.after[i]) kernel.users[to].push(i);
  });
}

// moduleAt gives the place of the module whose file is at a path.
const moduleFiles = new Map();
const moduleAt = (path) => moduleFiles.get(path);

const worst = (m) => m.x === 1 || m.x === 2 ? "error" : (m.f || []).some((f) => list.kernel.texts[f][0] !== "note") ? "warning" : "";
const tests = {
  "": () => true,
  findings: worst,
  fails: (m) => m.x === 1 || m.x === 2,
  root: (m) => list.kernel.users[m.at].length === 0,
};

function matching() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).map((w) => w.replaceAll("-", "_"));
  const test = tests[byId("state").value], key = COLUMNS[list.column][2];
  const text = (m) => (m.n + " " + (m.d || "")).toLowerCase().replaceAll("-", "_");
  const found = list.kernel.modules.filter((m) => test(m) && words.every((w) => text(m).includes(w)));
  const order = list.column ? (a, b) => key(a) - key(b) : (a, b) => collator.compare(a.n, b.n);
  return found.sort((a, b) => (list.down ? order(b, a) : order(a, b)) || a.at - b.at);
}

function drawHead() {
  byId("table").tHead.rows[0].replaceChildren(...COLUMNS.map(([name, kind], i) => {
    const sorted = list.column === i;
    const sort = () => { list.down = sorted ? !list.down : i > 0; list.column = i; list.rows = PAGE; drawList(); };
    return html("th", { scope: "col", class: kind, "aria-sort": sorted && (list.down ? "descending" : "ascending") },
      html("button", { type: "button", onclick: sort }, name + (sorted ? (list.down ? " ↓" : " ↑") : "")));
  }));
}

function row(m) {
  const mark = worst(m);
  const name = [html("a", { href: placeOf("module", list.kernel.version, m.n) }, m.n)];
  if (mark) name.push(" ", html("span", { class: "mark " + mark }, mark === "error" ? NEVER[m.x] : "warning"));
  return html("tr", { "aria-current": m.at === list.current && "true" },
    ...COLUMNS.map(([, kind, key, text], i) => html("td", { class: kind }, ...(i ? [String((text || key)(m))] : name))));
}

function drawList() {
  const found = matching(), left = found.length - list.rows;
  drawHead();
  byId("table").tBodies[0].replaceChildren(...found.slice(0, list.rows).map(row));
  byId("matches").textContent = found.length === list.kernel.modules.length ? plural(found.length, "module", "modules")
    : `${grouped(found.length)} of ${plural(list.kernel.modules.length, "module", "modules")}`;
  byId("more").hidden = left <= 0;
  byId("more").textContent = `Show ${Math.min(left, PAGE * 5)} more`;
}

// names lists modules as links; of many the rest is folded.
function names(kernel, all, extra) {
  if (!all.length) return ["nothing"];
  const one = (i) => [html("a", { href: placeOf("module", kernel.version, kernel.modules[i].n) }, kernel.modules[i].n), (extra ? extra(i) : "") + " "];
  const first = all.slice(0, 24).flatMap(one);
  if (all.length > 24) first.push(html("details", {}, html("summary", {}, `and ${grouped(all.length - 24)} more`), ...all.slice(24).flatMap(one)));
  return first;
}

function facts(kernel, m) {
  const users = kernel.users[m.at], further = reach(m.at, Infinity, (n) => kernel.users[n]).size - 1 - users.length;
  const all = reach(m.at, Infinity, (n) => kernel.after[n]).size - 1;
  const symbols = new Map(m.r || []), kin = kernel.after[m.at];
  const lines = [
    ["File", [html("code", {}, m.p)]],
    ["Size", [bytes(m.s) + (m.u && m.u !== m.s ? `, ${bytes(m.u)} unpacked` : "")]],
    ["Version", m.v && [m.v]], ["License", m.l && [m.l]],
    ["Needs", [...names(kernel, kin, (i) => ` (${symbols.get(i)})`), all > kin.length ? `${plural(all, "module", "modules")} in all` : ""]],
    ["Needed by", [...names(kernel, users), further > 0 ? `and by way of others ${plural(further, "more module", "more modules")}` : ""]],
    ["Wants besides", m.o && m.o.flatMap(([i, when]) => [...names(kernel, [i]), when === "pre" ? "before " : "after "])],
    ["Firmware", m.w && [html("code", {}, m.w.join(" "))]],
    ["Aliases", m.a && [grouped(m.a)]],
    ["Findings", m.f && [html("span", {}, ...m.f.map((f) => kernel.texts[f]).flatMap(([severity, text]) => [html("b", { class: severity }, severity), " " + text, html("br")]))]],
  ];
  return html("dl", { class: "facts" }, ...lines.filter(([, value]) => value).flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, ...value)]));
}

function depthButtons() {
  const choice = [[1, "neighbours"], [2, "two steps"], [99, "all"]];
  return html("div", { class: "depth", role: "group", "aria-label": "How far the graph goes" }, ...choice.flatMap(([depth, text]) => [
    html("button", { type: "button", "aria-pressed": list.depth === depth, onclick: () => { list.depth = depth; drawModule(); byId("module").querySelector("[aria-pressed=true]").focus(); } }, text), " "]));
}

function drawModule() {
  const { kernel, current } = list, m = kernel.modules[current];
  if (!m) return;
  const state = m.x in NEVER ? html("b", { class: "error" }, NEVER[m.x]) : m.x === 3 ? "whether it loads cannot be told" : "loads";
  const graph = html("div", { class: "graph" });
  byId("module").replaceChildren(html("h3", {}, m.n), html("p", { class: "hint" }, m.d || "", m.d ? " · " : "", state), depthButtons(), graph, facts(kernel, m));
  graph.append(drawGraph(kernel, current, list.depth, byId("module").clientWidth - 2));
  const middle = graph.querySelector(".focus rect");
  graph.scrollLeft = middle.getAttribute("x") - graph.clientWidth / 2 + middle.getAttribute("width") / 2;
}

function useKernel(kernel) {
  list.kernel = kernel;
  byId("version").value = String(data.kernels.indexOf(kernel));
  drawList();
}

// goToModule shows the module with that name.
function goToModule([version, name]) {
  const kernel = data.kernels.find((k) => k.version === version);
  const at = kernel ? kernel.modules.findIndex((m) => m.n === name) : -1;
  if (at < 0) return;
  list.current = at;
  useKernel(kernel);
  drawModule();
  const top = byId("module").getBoundingClientRect().top;
  if (top < 0 || top > innerHeight * 0.6) byId("modules").scrollIntoView();
  byId("module").focus({ preventScroll: true });
}

// interesting is the module that is shown first: one that would not load, else the one
// with the most around it that still makes a picture.
function interesting(kernel) {
  const failing = kernel.modules.findIndex((m) => m.x === 1 || m.x === 2);
  if (failing >= 0) return failing;
  const score = (m) => Math.min(kernel.after[m.at].length, 8) * Math.min(kernel.users[m.at].length, 8);
  return kernel.modules.reduce((best, m) => score(m) > score(kernel.modules[best]) ? m.at : best, 0);
}

// listKey: / goes to the filter, arrows from there and through the list.
function listKey(e) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
  if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    byId("filter").focus();
    return;
  }
  if (!byId("list").contains(e.target) || e.key !== "ArrowDown" && e.key !== "ArrowUp" || e.target.tagName === "SELECT") return;
  const links = [...byId("table").querySelectorAll("tbody a")], at = links.indexOf(e.target) + (e.key === "ArrowDown" ? 1 : -1);
  e.preventDefault();
  (links[at] || (at < 0 ? byId("filter") : byId("more"))).focus();
}

function startModules() {
  for (const kernel of data.kernels) {
    linkModules(kernel);
    for (const m of kernel.modules) moduleFiles.set(kernel.dir + "/" + m.p, placeOf("module", kernel.version, m.n));
  }
  const version = byId("version");
  version.append(...data.kernels.map((k, i) => html("option", { value: i }, k.version)));
  version.hidden = data.kernels.length < 2;
  const show = (kernel) => { list.current = interesting(kernel); list.rows = PAGE; useKernel(kernel); drawModule(); };
  version.addEventListener("change", () => show(data.kernels[version.value]));
  for (const id of ["filter", "state"]) byId(id).addEventListener("input", () => { list.rows = PAGE; drawList(); });
  byId("more").addEventListener("click", () => { list.rows += PAGE * 5; drawList(); });
  addEventListener("keydown", listKey);
  let width = 0;
  new ResizeObserver(() => {
    if (byId("module").clientWidth === width) return;
    width = byId("module").clientWidth;
    drawModule();
  }).observe(byId("module"));
  places.module = goToModule;
  show(data.kernels[0]);
}
