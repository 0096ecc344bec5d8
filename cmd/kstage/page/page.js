"use strict";
// What all parts of the page use. Names from the image become text only, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const plural = (n, one, many) => n === 1 ? "1 " + one : grouped(n) + " " + many;

function bytes(n) {
  if (n < 1024) return n + " bytes";
  let i = -1;
  do { n /= 1024; i++; } while (n >= 1024 && i < 3);
  return n.toFixed(1) + " " + "KMGT"[i] + "iB";
}

// fit shortens a text to what has room in width pixels, at 12 pixels a letter's height.
function fit(text, width) {
  const letters = Math.floor(width / 6.9);
  if (text.length <= letters) return text;
  return letters < 3 ? "" : text.slice(0, letters - 1) + "…";
}

// Places on the page: #space/lib/modules, #module/VERSION/NAME. Those without a slash are
// left to the browser, which would take the focus away.
const places = {};
const placeOf = (kind, ...parts) => "#" + [kind, ...parts.length ? parts : [""]].map(encodeURIComponent).join("/");

function goToPlace() {
  let parts;
  try {
    parts = (location.hash || "#space/").slice(1).split("/").map(decodeURIComponent);
  } catch {
    return; // not one of ours
  }
  const go = places[parts[0]];
  if (go && parts.length > 1) go(parts.slice(1));
}

function startTheme() {
  const button = byId("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
}

// What is folded is not printed.
function startPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const d of opened) d.open = true;
  });
  addEventListener("afterprint", () => { for (const d of opened) d.open = false; });
}

addEventListener("DOMContentLoaded", () => {
  startTheme();
  startPrint();
  startTreemap();
  if (byId("modules")) startModules();
  addEventListener("hashchange", goToPlace);
  if (location.hash) goToPlace();
});
