"use strict";
// Parts of pages about the insides of a model: controls, heat maps and tables. Nothing here knows
// what it shows. A page pushes what has to be drawn again, when colours or widths change, on `views`.
const views = [];

// ---- small things -------------------------------------------------------------------------

function el(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}
const byId = (id) => document.getElementById(id);
const minus = (text) => text.replace("-", "−");
function number(value, digits = 4) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) {
    const [head, tail] = value.toExponential(1).split("e");
    return minus(`${head}·10^`) + minus(String(Number(tail)));
  }
  return minus(String(Number(value.toPrecision(digits))));
}
function percent(value) {
  if (value > 0 && value < 0.0005) return "<\u202f0.1\u202f%";
  if (value < 1 && value > 0.9995) return ">\u202f99.9\u202f%";
  return `${(100 * value).toFixed(1)}\u202f%`;
}
const factor = (value) => (value < 0 ? `(${number(value, 3)})` : number(value, 3));
// A token with its space marks toned down.
const piece = (text, tag = "span") =>
  text.split(/(▁)/).filter(Boolean).map((part) => (part === "▁" ? el(tag, { class: "space" }, part) : part));
// White space of byte-level tokens, which otherwise nobody sees.
const visible = (text) => text.replace(/ /g, "▁").replace(/\n/g, "↵").replace(/\t/g, "⇥");
const sum = (values) => values.reduce((total, value) => total + value, 0);
const largest = (matrix) => Math.max(1e-9, ...matrix.map((row) => Math.max(...row.map(Math.abs))));
const quoted = (token) => `“${token.text}”`;
const argmax = (values) => values.indexOf(Math.max(...values));

// ---- colours ------------------------------------------------------------------------------

// Lightness rises or falls evenly along every scale, so that they also work without colour vision.
const SCALES = {
  light: {
    weight: ["#f1eee7", "#cfe2d9", "#8cc3bf", "#3f96aa", "#1f6391", "#1d2f63"],
    signed: ["#123f70", "#4483b5", "#aecfe0", "#f4f1ea", "#f0caa0", "#cf7a33", "#7c3406"],
  },
  dark: {
    weight: ["#20242a", "#1f3a5c", "#1f6391", "#3f9fb0", "#93cfb8", "#f2f4c4"],
    signed: ["#a5dcff", "#4690c8", "#24486a", "#1e2228", "#633e1e", "#c77a34", "#ffd09a"],
  },
};
const darkMode = matchMedia("screen and (prefers-color-scheme: dark)");
let ramps;
function paint() {
  const scales = darkMode.matches ? SCALES.dark : SCALES.light;
  ramps = Object.fromEntries(Object.entries(scales).map(([name, stops]) => [name, ramp(stops)]));
}
function ramp(stops) {
  const points = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (points.length - 1);
    const from = Math.min(Math.floor(place), points.length - 2);
    return [0, 1, 2].map((c) =>
      Math.round(points[from][c] + (place - from) * (points[from + 1][c] - points[from][c])));
  });
}
function colour(value, scale, limit) {
  const part = scale === "weight" ? value / limit : (value / limit + 1) / 2;
  return ramps[scale][Math.max(0, Math.min(255, Math.round(part * 255)))];
}
const css = (rgb) => `rgb(${rgb.join(" ")})`;
// Black or white, whichever differs more: relative luminance as WCAG 2 defines it.
function inkOn(rgb) {
  const [r, g, b] = rgb.map((c) => ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#14161a" : "#ffffff";
}
function legend(scale, limit) {
  const stops = Array.from({ length: 9 }, (_, i) => css(ramps[scale][Math.round((i * 255) / 8)]));
  const ends = scale === "weight" ? ["0", number(limit, 3)] : [number(-limit, 3), number(limit, 3)];
  return el("span", { class: "legend" }, ends[0],
    el("i", { style: `background:linear-gradient(to right,${stops})` }), ends[1]);
}

function shade(chip, weight) {
  const rgb = colour(weight, "weight", 1);
  chip.style.background = css(rgb);
  chip.style.color = inkOn(rgb);
}

// ---- tooltip ------------------------------------------------------------------------------

const tip = byId("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const above = y - box.height - 14;
  tip.style.left = `${Math.max(6, Math.min(x + 12, innerWidth - box.width - 6))}px`;
  tip.style.top = `${above > 6 ? above : y + 18}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener("scroll", hideTip, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
function moved(event, row, column, rows, columns) {
  const arrow = ARROWS[event.key];
  if (!arrow) return null;
  event.preventDefault();
  return [
    Math.max(0, Math.min(rows - 1, row + arrow[0])),
    Math.max(0, Math.min(columns - 1, column + arrow[1])),
  ];
}

// ---- controls -----------------------------------------------------------------------------

let serial = 0;
function slider({ label, min = 0, max, value, say, change, wide = false }) {
  const id = `slider-${++serial}`;
  const output = el("output", { for: id });
  const input = el("input", {
    type: "range", id, min, max, value, step: 1, disabled: min === max ? "" : null,
    oninput: () => { show(); change(Number(input.value)); },
  });
  function show() {
    output.textContent = say(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  }
  const node = el("div", { class: wide ? "slider wide" : "slider" },
    el("label", { for: id }, label, output), input);
  show();
  return { node, set(next) { input.value = next; show(); }, limit(last) {
    input.max = last; input.disabled = min === last; show();
  } };
}
function stageSlider(names, value, change) {
  const range = slider({
    label: "Stage", max: names.length - 1, value, wide: true, change: pick,
    say: (n) => `${n + 1} of ${names.length}: ${names[n]}`,
  });
  const ticks = names.map((name, n) =>
    el("button", { type: "button", onclick: () => { range.set(n); pick(n); } }, name));
  function pick(n) { mark(n); change(n); }
  function mark(n) { ticks.forEach((tick, at) => tick.setAttribute("aria-pressed", at === n)); }
  mark(value);
  range.node.append(el("div", { class: "ticks" }, ticks));
  return range;
}

// Probabilities as bars; `chosen`, if there is one, is marked, and added where it is not listed.
function bars(candidates, chosen = null) {
  const bar = (candidate) => el("li", { class: candidate.id === chosen?.id ? "said" : null },
    el("b", { title: candidate.token }, ...piece(visible(candidate.token))),
    el("i", { style: `width:${Math.max(0.1, 100 * candidate.probability)}%` }),
    el("span", {}, percent(candidate.probability)));
  const listed = chosen === null || candidates.some((candidate) => candidate.id === chosen.id);
  return el("ol", { class: "bars" }, candidates.map(bar), listed ? null : bar(chosen));
}

// ---- heat maps ----------------------------------------------------------------------------

function pixels(matrix, scale, limit, hidden = () => false) {
  const canvas = el("canvas", { width: matrix[0].length, height: matrix.length });
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  matrix.forEach((row, i) => row.forEach((value, j) => {
    if (!hidden(i, j)) image.data.set([...colour(value, scale, limit), 255], 4 * (i * row.length + j));
  }));
  context.putImageData(image, 0, 0);
  return canvas;
}
function mini(values, limit) {
  const canvas = pixels([values], "signed", limit);
  canvas.className = "mini";
  canvas.addEventListener("pointermove", (event) => {
    const column = Math.floor((event.offsetX / canvas.clientWidth) * values.length);
    if (values[column] !== undefined)
      showTip(`number ${column + 1} of ${values.length}: ${number(values[column])}`, event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", hideTip);
  return canvas;
}
// Tokens down, features across.
// Rows too low for it have no names.
function strip({ title, names, matrix, scale = "signed", limit = largest(matrix), row = -1, bars = null, describe, point = () => {}, height = names.length > 24 ? 13 : 19, hidden }) {
  const canvas = pixels(matrix, scale, limit, hidden);
  const labels = names.map((token, i) => el("li", {
    style: `height:${height}px;line-height:${height}px`, class: i === row ? "on" : null, title: token.text,
  }, ...piece(token.text)));
  const beside = bars && el("div", { class: "bars-in" }, bars.map((part, i) =>
    el("i", { style: `top:${i * height + 3}px;height:${height - 6}px;width:${(100 * part).toFixed(2)}%` })));
  const cursor = el("div", { class: "cell" });
  cursor.hidden = true;
  const marker = el("div", { class: "row", style: `top:${row * height - 2}px;height:${height + 4}px` });
  marker.hidden = row < 0;
  let at = [Math.max(row, 0), 0];
  function look(i, j, x, y) {
    at = [i, j];
    const columns = matrix[0].length;
    cursor.hidden = false;
    cursor.style.cssText = `top:${i * height}px;height:${height}px;left:${(100 * j) / columns}%;width:${100 / columns}%`;
    showTip(describe(i, j), x, y);
  }
  canvas.addEventListener("pointermove", (event) => {
    const i = Math.floor(event.offsetY / height);
    const j = Math.floor((event.offsetX / canvas.clientWidth) * matrix[0].length);
    if (matrix[i]?.[j] === undefined) return;
    look(i, j, event.clientX, event.clientY);
    if (i !== row) {
      labels[row]?.removeAttribute("class");
      row = i;
      labels[row].className = "on";
      marker.hidden = false;
      marker.style.cssText = `top:${row * height - 2}px;height:${height + 4}px`;
      point(i);
    }
  });
  const leave = () => { cursor.hidden = true; hideTip(); };
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("keydown", (event) => {
    const next = moved(event, ...at, matrix.length, matrix[0].length);
    if (!next) return;
    const box = canvas.getBoundingClientRect();
    look(...next, box.left + ((next[1] + 0.5) / matrix[0].length) * box.width, box.top + next[0] * height);
    if (next[0] !== row) point(next[0]);
  });
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label",
    `${title}: ${names.length} tokens, ${matrix[0].length} numbers each. Arrow keys read them.`);
  return el("figure", {},
    el("figcaption", { class: "caption-row" }, el("span", {}, title), legend(scale, limit)),
    el("div", { class: bars ? "strip barred" : height < 10 ? "strip bare" : "strip" },
      height < 10 ? null : el("ol", { class: "names" }, labels), beside,
      el("div", { class: "area", style: `height:${height * names.length}px` }, canvas, marker, cursor)));
}
// Tokens or words both ways. `width` is the room there is for it.
function table({ title, rows, columns, matrix, scale, limit, width, hidden = () => false, later = () => false, at, describe, point, axes }) {
  const label = Math.min(110, 14 + 8 * Math.max(...rows.map((row) => row.length)));
  const size = Math.max(12, Math.min(42, Math.floor((width - label) / columns.length) - 1));
  const decimals = scale === "weight" ? 2 : size < 36 ? 1 : 2;
  const heads = columns.map((name) => el("th", { scope: "col", title: name }, el("span", {}, ...piece(name))));
  const sides = rows.map((name) => el("th", { scope: "row", title: name }, ...piece(name)));
  const cells = matrix.map((row, i) => row.map((value, j) => {
    const masked = hidden(i, j);
    const rgb = colour(value, scale, limit);
    const short = size >= 25 && !masked ? minus(value.toFixed(decimals)) : "";
    return el("td", {
      tabindex: -1, "aria-label": describe(i, j), class: masked ? "hidden" : null,
      style: `width:${size}px;min-width:${size}px;height:${Math.max(size * 0.72, 12)}px` +
        (masked ? "" : `;background:${css(rgb)};color:${inkOn(rgb)}${size < 28 ? ";font-size:.625rem" : ""}`),
      onpointerenter: (event) => { select(i, j); showTip(describe(i, j), event.clientX, event.clientY); },
      onpointerleave: hideTip,
      onclick: () => select(i, j),
      onblur: hideTip,
      onkeydown: (event) => {
        const next = moved(event, i, j, rows.length, columns.length);
        if (!next) return;
        select(...next);
        cells[next[0]][next[1]].focus({ preventScroll: false });
        const box = cells[next[0]][next[1]].getBoundingClientRect();
        showTip(describe(...next), box.right, box.top);
      },
    }, short);
  }));
  function mark(on) {
    cells[at[0]][at[1]].classList.toggle("on", on);
    cells[at[0]][at[1]].tabIndex = on ? 0 : -1;
    heads[at[1]].classList.toggle("on", on);
    sides[at[0]].classList.toggle("on", on);
  }
  function select(i, j) {
    if (i === at[0] && j === at[1]) return;
    mark(false);
    at = [i, j];
    mark(true);
    point(i, j);
  }
  mark(true);
  return el("figure", {},
    el("figcaption", { class: "caption-row" }, el("span", {}, title), legend(scale, limit)),
    el("div", { class: "scroll" }, el("table", { class: "matrix", style: `font-size:${Math.min(13, size)}px` },
      el("thead", {}, el("tr", {}, el("td", {}), heads)),
      el("tbody", {}, rows.map((_, i) => el("tr", { class: later(i) ? "later" : null }, sides[i], cells[i]))))),
    axes ? el("p", { class: "axes" }, ...axes) : null);
}
// The weights of all heads, small, as buttons. `layers` hold {layer, heads: [{head, weights}]}.
function headGrid(layers, masked, choose) {
  const most = Math.max(...layers.map(({ heads }) => heads.length));
  const width = layers.length > 8 ? 2.4 : 4.25;
  return el("div", { class: "grid", style: `grid-template-columns:auto repeat(${most}, minmax(0, ${width}rem))` },
    layers.flatMap(({ layer, heads }) => [
      el("span", { style: "grid-column:1" }, `layer ${layer + 1}`),
      ...heads.map(({ head, weights }) => el("button", {
        type: "button", "aria-label": `layer ${layer + 1}, head ${head + 1}`, "data-layer": layer, "data-head": head,
        onclick: () => choose(layer, head),
      }, pixels(weights, "weight", 1, masked)))]));
}
function markHead(grid, layer, head) {
  for (const button of grid.querySelectorAll("button"))
    button.setAttribute("aria-pressed", Number(button.dataset.layer) === layer && Number(button.dataset.head) === head);
}

// Draws all views, and again when colours or widths have changed.
function live(after = () => {}) {
  let known = innerWidth;
  let waiting;
  const draw = () => { paint(); views.forEach((view) => view()); after(); };
  draw();
  darkMode.addEventListener("change", draw);
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (innerWidth !== known) { known = innerWidth; draw(); } }, 120);
  });
}
