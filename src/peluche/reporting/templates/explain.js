"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const { model, source, target, encoder, decoder, steps, beam, alignment } = data;
const written = [decoder.tokens[0], ...target.tokens];
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
function strip({ title, names, matrix, limit = largest(matrix), row = -1, bars = null, describe, point = () => {} }) {
  const height = names.length > 24 ? 13 : 19;
  const canvas = pixels(matrix, "signed", limit);
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
    el("figcaption", { class: "caption-row" }, el("span", {}, title), legend("signed", limit)),
    el("div", { class: bars ? "strip barred" : "strip" }, el("ol", { class: "names" }, labels), beside,
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
    const short = size >= 27 && !masked ? minus(value.toFixed(decimals)) : "";
    return el("td", {
      tabindex: -1, "aria-label": describe(i, j), class: masked ? "hidden" : null,
      style: `width:${size}px;min-width:${size}px;height:${Math.max(size * 0.72, 12)}px` +
        (masked ? "" : `;background:${css(rgb)};color:${inkOn(rgb)}`),
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

// ---- the sentence bar ---------------------------------------------------------------------

const barChips = { source: [...byId("bar-source").children], target: [...byId("bar-target").children] };
let lit = () => {};
function unlit() {
  lit = () => {};
  for (const chip of [...barChips.source, ...barChips.target]) {
    chip.classList.remove("asking");
    chip.removeAttribute("style");
  }
}
function spotlight(askingSide, asking, offeringSide, weights) {
  unlit();
  lit = () => {
    weights.forEach((weight, index) => shade(barChips[offeringSide][index], weight));
    const chip = barChips[askingSide][asking];
    chip.classList.add("asking");
    if (askingSide !== offeringSide) chip.removeAttribute("style");
    const line = chip.parentElement;
    if (line.scrollWidth > line.clientWidth) line.scrollLeft = chip.offsetLeft - line.offsetLeft - line.clientWidth / 2;
  };
  lit();
}
function shade(chip, weight) {
  const rgb = colour(weight, "weight", 1);
  chip.style.background = css(rgb);
  chip.style.color = inkOn(rgb);
}

// ---- 2 embedding and position -------------------------------------------------------------

function embeddingView() {
  const root = byId("view-embedding");
  const at = (matrix, i, j) => number(matrix[i][j]);
  function draw() {
    const { embedding, positions, input, tokens, embedding_scale: scale } = encoder;
    const limit = Math.max(largest(embedding), largest(input));
    const about = (i, j) => `${quoted(tokens[i])}, number ${j + 1} of ${input[i].length}\n`;
    const scaled = (i, j) => `√d × ${number(embedding[i][j] / scale)} = ${at(embedding, i, j)}`;
    root.replaceChildren(el("div", { class: "stage figures" },
      strip({
        title: "Embedding of each token, times √d", names: tokens, matrix: embedding, limit,
        describe: (i, j) => about(i, j) + scaled(i, j),
      }),
      positions && strip({
        title: "Position", names: tokens.map((_, i) => ({ text: `place ${i}` })), matrix: positions, limit,
        describe: (i, j) => `place ${i}, number ${j + 1}\n${at(positions, i, j)}`,
      }),
      positions && strip({
        title: "Sum: what the first layer reads", names: tokens, matrix: input, limit,
        describe: (i, j) => `${about(i, j)}${scaled(i, j)}\n${at(embedding, i, j)} + (${at(positions, i, j)}) = ${at(input, i, j)}`,
      })));
  }
  views.push(draw);
}

// ---- 3 and 5 attention --------------------------------------------------------------------

const STAGES = ["Q and K", "Q · Kᵀ", "÷ √d", "softmax", "× V"];
const ORIGIN = { rope: ", turned by its place (rotary positions)" }[model.positions] ?? "";

function attentionView(root, kinds, initial) {
  const state = { kind: Object.keys(kinds)[0], layer: 0, head: 0, stage: 3, q: 0, k: 0, now: null, ...initial };
  const kind = () => kinds[state.kind];
  const head = () => kind().layers[state.layer][state.head];
  const last = () => kind().layers.length - 1;
  const masked = (i, j) => kind().causal && j > i;

  const controls = el("div", { class: "controls" });
  const layerSlider = slider({
    label: "Layer", max: last(), value: state.layer, say: (n) => `${n + 1} of ${last() + 1}`,
    change: (n) => { state.layer = n; changed(); },
  });
  const headSlider = slider({
    label: "Head", max: model.heads - 1, value: state.head, say: (n) => `${n + 1} of ${model.heads}`,
    change: (n) => { state.head = n; changed(); },
  });
  const stages = stageSlider(STAGES, state.stage, (n) => { state.stage = n; changed(); });
  if (Object.keys(kinds).length > 1) root.append(kindChoice());
  controls.append(layerSlider.node, headSlider.node, stages.node);
  const stage = el("div", { class: "stage", "data-view": "attention" });
  const overview = el("div", { class: "overview" });
  root.append(controls, stage, overview);

  function kindChoice() {
    const buttons = Object.entries(kinds).map(([name, { title }]) => el("button", {
      type: "button", "aria-pressed": name === state.kind, onclick: () => {
        state.kind = name;
        buttons.forEach((button, n) => button.setAttribute("aria-pressed", Object.keys(kinds)[n] === name));
        layerSlider.limit(last());
        if (state.now !== null) state.q = state.now;
        state.k = argmax(head().weights[state.q]);
        draw();
        light();
      },
    }, title));
    return el("div", { class: "choice", role: "group", "aria-label": "Kind of attention" }, buttons);
  }
  function changed() { drawStage(); markOverview(); light(); }
  function light() { spotlight(kind().asking, state.q, kind().offering, head().weights[state.q]); }
  function point(q, k) {
    Object.assign(state, { q, k });
    stage.querySelector(".chain")?.replaceWith(chain());
    light();
  }

  function drawStage() {
    const { rows, columns } = kind();
    const h = head();
    // Measured in the page, since the table's cells are as large as there is room for.
    const figures = el("div", { class: columns.length > 14 ? "figures" : "figures pair" });
    stage.replaceChildren(explanationOf(), figures);
    const figure = el("div", { class: "figures" });
    figures.append(figure, chain());
    const width = figure.clientWidth;
    const shared = {
      rows: rows.map((t) => t.text), columns: columns.map((t) => t.text), width, at: [state.q, state.k], point,
      later: (i) => state.now !== null && i > state.now,
      axes: ["rows ask (", el("b", { class: "q" }, "queries"), "), columns offer (", el("b", { class: "k" }, "keys"), ")"],
    };
    const between = (i, j) => `${quoted(rows[i])} → ${quoted(columns[j])}\n`;
    const cell = (name, matrix) => (i, j) => between(i, j) + name + number(matrix[i][j]);
    const strips = (name, matrix, names, extra) => strip({
      title: name, names, matrix, describe: (i, j) => `${quoted(names[i])}, number ${j + 1} of ${matrix[i].length}\n${number(matrix[i][j])}`, ...extra,
    });
    if (state.stage === 0) {
      const limit = Math.max(largest(h.query), largest(h.key));
      figure.append(
        strips("Queries Q", h.query, rows, { limit, row: state.q, point: (i) => point(i, state.k) }),
        strips("Keys K", h.key, columns, { limit, row: state.k, point: (j) => point(state.q, j) }));
    } else if (state.stage === 1) {
      figure.append(table({ ...shared, title: "Q · Kᵀ", matrix: h.products, scale: "signed", limit: largest(h.products), describe: cell("q · k = ", h.products) }));
    } else if (state.stage === 2) {
      const scores = biased(h);
      figure.append(table({ ...shared, title: h.bias ? "Scores, with the bias of positions" : "Scores", matrix: scores, scale: "signed", limit: largest(scores), describe: cell("score = ", scores) }));
    } else if (state.stage === 3) {
      figure.append(table({
        ...shared, title: "Weights: every row sums to 1", matrix: h.weights, scale: "weight", limit: 1, hidden: masked,
        describe: (i, j) => masked(i, j) ? `${between(i, j)}masked: it comes later` : `${between(i, j)}weight ${number(h.weights[i][j])} = ${percent(h.weights[i][j])}`,
      }));
    } else {
      figure.append(
        strips("Weights and values V", h.value, columns, { limit: largest(h.value), bars: h.weights[state.q], row: state.k, point: (j) => point(state.q, j) }),
        strips("Weights × V", h.mixed, rows, {
          limit: largest(h.value), row: state.q, point: (i) => { Object.assign(state, { q: i }); changed(); },
        }));
    }
  }
  function biased(h) {
    return h.bias ? h.scores.map((row, i) => row.map((value, j) => value + h.bias[i][j])) : h.scores;
  }
  function explanationOf() {
    const d = model.head_width;
    const words = [
      `Every asking token has a query and every offering token a key: ${d} numbers each${ORIGIN}.`,
      "Multiply query and key number by number and add up. The more they point the same way, the larger the product.",
      `Sums of ${d} products grow with √${d}. Dividing by √${d} = ${number(Math.sqrt(d))} keeps the next stage from being all or nothing.` +
        (kind().layers[0][0].bias ? " Then a bias is added that depends on how far apart the two places are." : ""),
      (kind().causal ? "Tokens that come later are masked: nobody may read what is not yet written. " : "") +
        "Raise e to every score and divide by the sum of the row. Now each row shares out exactly 1.",
      "Each asking token receives the values of all tokens, mixed by its row of weights.",
    ];
    return el("p", {}, el("strong", {}, `${STAGES[state.stage]}. `), words[state.stage]);
  }

  // The arithmetic of one query and one key, all stages, the current one marked.
  function chain() {
    const { rows, columns } = kind();
    const { q, k } = state;
    const h = head();
    const d = model.head_width;
    const query = h.query[q];
    const key = h.key[k];
    const limit = Math.max(largest(h.query), largest(h.key));
    const vector = (name, values, most) => el("div", { class: "vector" }, el("b", { class: name }, name === "out" ? "=" : name), mini(values, most));
    const terms = query.map((value, i) => [value, key[i]]).sort((a, b) => Math.abs(b[0] * b[1]) - Math.abs(a[0] * a[1]));
    const shown = terms.slice(0, 2).map(([a, b]) => `${factor(a)}×${factor(b)}`);
    const scores = biased(h)[q];
    const visible = scores.filter((_, j) => !masked(q, j));
    // Large scores are shifted, as every implementation does; the quotient stays the same.
    const shift = Math.max(...visible) > 12 ? Math.max(...visible) : 0;
    const power = Math.exp(scores[k] - shift);
    const total = sum(visible.map((score) => Math.exp(score - shift)));
    const outLimit = largest(h.value);
    const lines = [
      [vector("q", query, limit), vector("k", key, limit)],
      [el("b", { class: "q" }, "q"), " · ", el("b", { class: "k" }, "k"), ` = ${shown.join(" + ")} + …`, `\u202f=\u00a0${number(h.products[q][k])}`,
        el("span", {}, `the two largest of ${d} products, and the rest`)],
      [`${number(h.products[q][k])} ÷ √${d} = ${number(h.scores[q][k])}`,
        h.bias ? el("span", {}, `plus ${number(h.bias[q][k])} for the distance = ${number(scores[k])}`) : null],
      masked(q, k)
        ? [`${quoted(columns[k])} comes later: masked, weight 0`]
        : ["e", el("sup", {}, number(scores[k] - shift, 3)), ` ÷ sum of the row = ${number(power, 3)} ÷ ${number(total, 3)} = `, el("b", {}, percent(h.weights[q][k])),
          shift ? el("span", {}, `the largest score, ${number(shift)}, was taken off every score first: it cancels`) : null],
      [`${percent(h.weights[q][k])} of the value`, vector("v", h.value[k], outLimit), "with the shares of all the others", vector("out", h.mixed[q], outLimit)],
    ];
    return el("div", { class: "chain", "data-query": q, "data-key": k },
      el("h4", {}, el("span", { class: "q" }, quoted(rows[q])), " looks at ", el("span", { class: "k" }, quoted(columns[k]))),
      el("ol", {}, lines.map((line, n) => el("li", { class: n === state.stage ? "on" : null }, ...line))));
  }

  function drawOverview() {
    const { layers, title } = kind();
    const label = (layer) => el("span", {}, `layer ${layer + 1}`);
    overview.replaceChildren(
      el("p", { class: "axes" }, `All heads at a glance (${title.toLowerCase()}, weights). Choose one.`),
      el("div", { class: "grid", style: `grid-template-columns:auto repeat(${model.heads}, minmax(0, 4.25rem))` },
        layers.flatMap((heads, layer) => [label(layer), ...heads.map((h, n) => el("button", {
          type: "button", "aria-label": `layer ${layer + 1}, head ${n + 1}`, "data-layer": layer, "data-head": n,
          onclick: () => {
            Object.assign(state, { layer, head: n });
            layerSlider.set(layer);
            headSlider.set(n);
            changed();
          },
        }, pixels(h.weights, "weight", 1, masked)))])));
    markOverview();
  }
  function markOverview() {
    for (const button of overview.querySelectorAll("button"))
      button.setAttribute("aria-pressed", Number(button.dataset.layer) === state.layer && Number(button.dataset.head) === state.head);
  }
  function draw() { drawStage(); drawOverview(); }
  views.push(draw);
  return {
    light,
    goTo(step) {
      state.now = step;
      state.q = step;
      state.k = argmax(head().weights[step]);
      drawStage();
      light();
    },
  };
}

// ---- 4 encoder output ---------------------------------------------------------------------

function memoryView() {
  const root = byId("view-memory");
  const places = [
    ["what the first layer reads", encoder.input],
    ...encoder.layers.map((layer, n) => [`after layer ${n + 1}`, layer.output]),
    ["handed to the decoder", encoder.output],
  ];
  let place = places.length - 1;
  const holder = el("div", { class: "stage" });
  function draw() {
    const [name, matrix] = places[place];
    holder.replaceChildren(strip({
      title: `The ${matrix[0].length} numbers of each token, ${name}`, names: encoder.tokens, matrix,
      describe: (i, j) => `${quoted(encoder.tokens[i])}, number ${j + 1} of ${matrix[i].length}\n${number(matrix[i][j])}`,
    }));
  }
  const range = slider({
    label: "Where", max: places.length - 1, value: place, wide: true, say: (n) => places[n][0],
    change: (n) => { place = n; draw(); },
  });
  root.append(el("div", { class: "controls" }, range.node), holder);
  views.push(draw);
}

// ---- 5 decoding ---------------------------------------------------------------------------

const usualLayer = Math.max(0, alignment.length - 2);

function stepView(attention) {
  const root = byId("view-step");
  let step = 0;
  const holder = el("div", { class: "stage step" });
  const range = slider({
    label: "Step", max: steps.length - 1, value: 0, wide: true, change: goTo,
    say: (n) => `${n + 1} of ${steps.length}: ${written[n].text} → ${written[n + 1].text}`,
  });
  const back = el("button", { type: "button", onclick: () => goTo(step - 1) }, "← Back");
  const next = el("button", { type: "button", onclick: () => goTo(step + 1) }, "Next →");
  root.append(el("div", { class: "controls" }, el("div", { class: "turn slider wide" }, back, range.node, next)), holder);

  function goTo(to) {
    step = Math.max(0, Math.min(steps.length - 1, to));
    range.set(step);
    draw();
    attention.goTo(step);
  }
  function draw() {
    const { candidates, chosen, rank, log_probability } = steps[step];
    back.disabled = step === 0;
    next.disabled = step === steps.length - 1;
    const heads = decoder.layers[usualLayer].cross_attention;
    const looks = source.tokens.map((_, j) => sum(heads.map((h) => h.weights[step][j])) / heads.length);
    const chips = source.tokens.map((token, j) => {
      const chip = el("li", { class: "chip", title: percent(looks[j]) }, ...piece(token.text));
      shade(chip, looks[j]);
      return chip;
    });
    const bar = (candidate, place) => el("li", { class: candidate.id === chosen.id ? "said" : null },
      el("b", { title: candidate.token }, ...piece(candidate.token)), el("i", { style: `width:${Math.max(0.1, 100 * candidate.probability)}%` }),
      el("span", {}, percent(candidate.probability)));
    const listed = candidates.some((candidate) => candidate.id === chosen.id);
    holder.replaceChildren(
      el("div", {},
        el("h4", {}, "Written so far, and the token chosen now"),
        el("ol", { class: "chips" }, written.map((token, n) =>
          el("li", { class: `chip${n === step + 1 ? " said" : n > step ? " later" : ""}` }, ...piece(token.text)))),
        el("h4", {}, `Where it looks in the source (cross-attention, layer ${usualLayer + 1}, mean of heads)`),
        el("ol", { class: "chips" }, chips),
        el("p", {}, legend("weight", 1)),
        el("p", {}, `${step ? `All ${step + 1} tokens so far together: probability` : "Probability"} ${number(Math.exp(log_probability), 3)}, log-probability ${number(log_probability)}.`)),
      el("div", {},
        el("h4", {}, "Most probable next tokens"),
        el("ol", { class: "bars" }, candidates.map(bar), listed ? null : bar(chosen)),
        rank > 1 ? el("p", {}, `The chosen token is number ${rank} here: ` + (step < steps.length - 1
          ? "the sentence as a whole scores best this way."
          : "the sentence as a whole scores best if it ends now, or it has reached the longest length allowed.")) : null));
  }
  views.push(draw);
}

// ---- 6 beam tree --------------------------------------------------------------------------

function beamView() {
  const root = byId("view-beam");
  const room = (root.clientWidth - 84) / Math.max(...beam.nodes.map((node) => node.step + 1));
  const dx = Math.max(78, Math.min(108, room));
  const [dy, w, h] = [50, dx - 20, 26];
  const { nodes } = beam;
  const columns = [];
  nodes.forEach((node, index) => (columns[node.step] ??= []).push(index));
  columns.forEach((column) => column.sort((a, b) => nodes[a].rank - nodes[b].rank));
  const place = nodes.map((node, index) => [8 + node.step * dx, 8 + columns[node.step].indexOf(index) * dy]);
  const short = (text) => (text.length > w / 7 ? `${text.slice(0, w / 7 - 1)}…` : text);
  const readout = el("p", { class: "readout", role: "status" });

  const edges = nodes.map((node, index) => {
    if (node.parent === null) return null;
    const [x, y] = place[index];
    const [px, py] = place[node.parent];
    const middle = (px + w + x) / 2;
    return el("svg:path", {
      class: `edge${node.best ? " best" : ""}`,
      d: `M${px + w} ${py + h / 2} C${middle} ${py + h / 2} ${middle} ${y + h / 2} ${x} ${y + h / 2}`,
    });
  });
  const marks = nodes.map((node, index) => {
    const [x, y] = place[index];
    return el("svg:g", {
      class: `node ${node.state}${node.best ? " best" : ""}`, tabindex: -1, role: "img",
      "aria-label": `${node.text || node.token}, log-probability ${number(node.log_probability)}, ${node.state}`,
      transform: `translate(${x} ${y})`,
      onpointerenter: () => look(index), onfocus: () => look(index), onclick: () => look(index),
      onkeydown: (event) => {
        const column = columns[node.step];
        const to = {
          ArrowLeft: node.parent, ArrowRight: nodes.findIndex((other) => other.parent === index),
          ArrowUp: column[column.indexOf(index) - 1], ArrowDown: column[column.indexOf(index) + 1],
        }[event.key];
        if (marks[to]) { event.preventDefault(); marks[to].focus(); }
      },
    },
    el("svg:rect", { width: w, height: h, rx: 7 }),
    el("svg:text", { class: "name", x: w / 2, y: 17 }, ...piece(short(node.token), "svg:tspan")),
    el("svg:text", { class: "score", x: w / 2, y: h + 13 }, minus(node.log_probability.toFixed(2))));
  });
  function look(index) {
    const path = new Set();
    for (let at = index; at !== null; at = nodes[at].parent) path.add(at);
    nodes.forEach((_, at) => {
      marks[at].classList.toggle("on", at === index);
      marks[at].setAttribute("tabindex", at === index ? 0 : -1);
      edges[at]?.classList.toggle("on", path.has(at));
    });
    const node = nodes[index];
    const fate = { alive: "still in the running", finished: "finished", dropped: "nothing that continues it stayed among the best" }[node.state];
    readout.replaceChildren(
      el("strong", {}, node.text || node.token), el("span", {},
        `log-probability ${number(node.log_probability)}` +
        (node.step ? `, score ${number(node.score)} with ${node.step} token${node.step > 1 ? "s" : ""}` : "") +
        `; ${node.best ? (node.state === "finished" ? "the translation" : "on the way to the translation") : fate}`));
  }
  const width = 16 + (columns.length - 1) * dx + w;
  const height = 12 + Math.max(...columns.map((column) => column.length)) * dy;
  const finished = nodes.filter((node) => node.state === "finished").sort((a, b) => b.score - a.score);
  const swatch = (style, text) => el("span", {}, el("i", { style }), text);
  root.append(
    el("div", { class: "stage" },
      el("p", { class: "key" },
        swatch("background:var(--accent)", "the way to the translation"), swatch("", "kept alive"),
        swatch("border-color:var(--accent)", "finished with [EOS]"),
        swatch("background:none;border:1.5px dashed var(--line)", "dropped"),
        el("span", {}, "below each token: log-probability of the beginning that it ends")),
      el("div", { class: "scroll tree", role: "group", "aria-label": "Beam search as a tree; arrow keys walk along it" },
        el("svg:svg", { width, height, viewBox: `0 0 ${width} ${height}` },
          edges.filter((edge) => edge && !edge.classList.contains("best")),
          edges.filter((edge) => edge?.classList.contains("best")), marks)),
      readout),
    el("h3", {}, finished.length === 1 ? "The finished sentence" : "The finished sentences"),
    el("div", { class: "scroll" }, el("table", { class: "results" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "translation"), el("th", { scope: "col", class: "number log" }, "log-probability"),
        el("th", { scope: "col", class: "number log" }, "tokens"), el("th", { scope: "col", class: "number" }, "score"))),
      el("tbody", {}, finished.map((node) => el("tr", { class: node.best ? "best" : null },
        el("td", {}, node.text), el("td", { class: "number log" }, number(node.log_probability)),
        el("td", { class: "number log" }, node.step), el("td", { class: "number" }, number(node.score))))))));
  look(nodes.findLastIndex((node) => node.best));
}

// ---- 7 alignment --------------------------------------------------------------------------

function alignmentView() {
  const root = byId("view-alignment");
  let layer = usualLayer;
  const range = slider({
    label: "Layer", max: alignment.length - 1, value: layer, say: (n) => `${n + 1} of ${alignment.length}`,
    change: (n) => { layer = n; draw(); },
  });
  const holder = el("div", { class: "stage figures pair" });
  root.append(el("div", { class: "controls" }, range.node), holder);

  function threads(matrix, width) {
    const pitch = 31;
    const rows = Math.max(source.words.length, target.words.length);
    const [left, right] = [width * 0.36, width * 0.64];
    const y = (n, count) => 20 + (n + (rows - count) / 2) * pitch;
    const paths = [];
    matrix.forEach((row, i) => row.forEach((weight, j) => {
      if (weight < 0.04) return;
      const [from, to] = [y(j, source.words.length), y(i, target.words.length)];
      const middle = width / 2;
      paths.push([i, j, el("svg:path", {
        d: `M${left + 8} ${from} C${middle} ${from} ${middle} ${to} ${right - 8} ${to}`,
        "stroke-width": (1 + 8 * weight).toFixed(2), "stroke-opacity": (0.15 + 0.75 * weight).toFixed(3),
      }, el("svg:title", {}, `${source.words[j]} – ${target.words[i]}: ${percent(weight)}`))]);
    }));
    const words = [];
    const word = (side, text, n, count, x) => {
      const room = width * 0.36 / 8;
      const focus = (on) => () => highlight(on ? side : null, n);
      const node = el("svg:text", {
        class: side, x, y: y(n, count) + 5, tabindex: 0,
        onpointerenter: focus(true), onpointerleave: focus(false), onfocus: focus(true), onblur: focus(false),
      }, text.length > room ? `${text.slice(0, room - 1)}…` : text, el("svg:title", {}, text));
      words.push([side, n, node]);
      return node;
    };
    function highlight(side, n) {
      const touched = { source: new Set(), target: new Set() };
      for (const [i, j, path] of paths) {
        const on = side === null || (side === "source" ? j : i) === n;
        path.classList.toggle("dim", !on);
        if (on) { touched.source.add(j); touched.target.add(i); }
      }
      for (const [of, index, node] of words) {
        node.classList.toggle("dim", side !== null && !touched[of].has(index) && !(of === side && index === n));
        node.classList.toggle("on", of === side && index === n);
      }
    }
    return el("figure", { class: "threads" },
      el("figcaption", {}, "The thicker, the more attention"),
      el("svg:svg", { width, height: rows * pitch + 14, role: "group", "aria-label": "Alignment of words" },
        paths.map(([, , path]) => path),
        source.words.map((text, n) => word("source", text, n, source.words.length, left)),
        target.words.map((text, n) => word("target", text, n, target.words.length, right))));
  }
  function draw() {
    const matrix = alignment[layer];
    const [left, right] = [el("div"), el("div")];
    holder.replaceChildren(left, right);
    left.append(threads(matrix, Math.min(left.clientWidth, 480)));
    right.append(table({
      title: "The same as a table", rows: target.words, columns: source.words, matrix, scale: "weight", limit: 1,
      width: right.clientWidth, at: [0, 0], point: () => {},
      describe: (i, j) => `${target.words[i]} ← ${source.words[j]}\n${percent(matrix[i][j])}`,
    }));
  }
  views.push(draw);
}

// ---- the page -----------------------------------------------------------------------------

const middle = Math.floor((source.tokens.length - 1) / 2);
const longest = Math.max(7, ...[...source.tokens, ...written].map((token) => token.text.length));
document.documentElement.style.setProperty("--names", `${Math.min(8, 0.5 * longest + 0.6)}rem`);
paint();
embeddingView();
const inEncoder = attentionView(byId("view-encoder"), {
  encoder: {
    title: "Encoder self-attention", layers: encoder.layers.map((layer) => layer.self_attention),
    rows: encoder.tokens, columns: encoder.tokens, causal: false, asking: "source", offering: "source",
  },
}, { q: middle, k: argmax(encoder.layers[0].self_attention[0].weights[middle]) });
memoryView();
const inDecoder = attentionView(byId("view-decoder"), {
  self: {
    title: "Masked self-attention", layers: decoder.layers.map((layer) => layer.self_attention),
    rows: decoder.tokens, columns: decoder.tokens, causal: true, asking: "target", offering: "target",
  },
  cross: {
    title: "Cross-attention", layers: decoder.layers.map((layer) => layer.cross_attention),
    rows: decoder.tokens, columns: encoder.tokens, causal: false, asking: "target", offering: "source",
  },
}, { kind: "cross", layer: usualLayer, now: 0 });
stepView(inDecoder);
beamView();
alignmentView();

function drawAll() {
  paint();
  views.forEach((draw) => draw());
  lit();
}
drawAll();
darkMode.addEventListener("change", drawAll);
let known = innerWidth;
let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => { if (innerWidth !== known) { known = innerWidth; drawAll(); } }, 120);
});

const links = [...document.querySelectorAll("nav a")];
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links)
      if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    ({ encoder: inEncoder.light, decoding: inDecoder.light }[entry.target.id] ?? unlit)();
  }
}, { rootMargin: "-35% 0px -60% 0px" });
document.querySelectorAll("main section").forEach((section) => watcher.observe(section));
})();
