// A text's way through a language model or an encoder, drawn with figures.js.
const data = JSON.parse(document.getElementById("data").textContent);
const { model, tokens, ahead, predictions, surprisals, attention, lens, routing, carried, names } = data;
const count = tokens.length;
const labels = tokens.map((token) => ({ text: visible(token.text) }));
const TABLE = 28; // tokens that a table has room for; a map of pixels shows more
const barChips = [...byId("bar-source").children];

// ---- the chosen token ---------------------------------------------------------------------

let place = predictions.length ? predictions.reduce((best, one, n) => (one ? n : best), 0) : count - 1;
const followers = [];
function goTo(to) {
  place = Math.max(0, Math.min(count - 1, to));
  barChips.forEach((chip, n) => chip.classList.toggle("asking", n === place));
  const chip = barChips[place];
  const line = chip.parentElement;
  if (line.scrollWidth > line.clientWidth) line.scrollLeft = chip.offsetLeft - line.offsetLeft - line.clientWidth / 2;
  followers.forEach((follow) => follow());
}
barChips.forEach((chip, n) => {
  chip.replaceChildren(...piece(labels[n].text));
  chip.addEventListener("click", () => goTo(n));
});
function placeSlider() {
  const range = slider({
    label: "Token", max: count - 1, value: place, wide: true, change: goTo,
    say: (n) => `${n + 1} of ${count}: ${labels[n].text}`,
  });
  const back = el("button", { type: "button", onclick: () => goTo(place - 1) }, "← Back");
  const next = el("button", { type: "button", onclick: () => goTo(place + 1) }, "Next →");
  followers.push(() => {
    range.set(place);
    back.disabled = place === 0;
    next.disabled = place === count - 1;
  });
  return el("div", { class: "turn slider wide" }, back, range.node, next);
}
// The text itself; `values` shade its tokens where they are not null.
function running({ values, limit, describe, later = () => false }) {
  return el("p", { class: count > 250 ? "running long" : "running" }, tokens.map((token, n) => {
    const rgb = values[n] === null ? null : colour(values[n], "weight", limit);
    const line = token.text.includes("\n") ? token.text.replace(/[^\n]/g, "") : "";
    return [el("span", {
      class: `token${n === place ? " on" : ""}${token.unknown ? " unknown" : ""}${later(n) ? " later" : ""}`, "data-place": n,
      style: rgb && `background:${css(rgb)};color:${inkOn(rgb)}`,
      onclick: () => goTo(n),
      onpointerenter: (event) => showTip(describe(n), event.clientX, event.clientY),
      onpointerleave: hideTip,
    }, token.text.replace(/\n/g, "↵").replace(/^▁/, " ")), line];
  }).flat());
}
function mark(node) {
  node.querySelectorAll(".token").forEach((one, n) => one.classList.toggle("on", n === place));
  const [text, on] = [node.querySelector(".running"), node.querySelector(".token.on")];
  if (text.scrollHeight > text.clientHeight) text.scrollTop = on.offsetTop - text.offsetTop - text.clientHeight / 2;
}

// ---- 1 the text, by surprisal -------------------------------------------------------------

const UNITS = { nats: 1, bits: 1 / Math.LN2 };
const said = (n) => predictions[n - ahead] ?? null; // what was said of token n
function aboutToken(n) {
  const token = tokens[n];
  const lines = [`${quoted(labels[n])}, token ${n + 1} of ${count}, id ${token.id}${token.unknown ? ", unknown" : ""}`];
  if (surprisals[n] !== null && surprisals[n] !== undefined) {
    const { actual, rank } = said(n);
    lines.push(`${number(surprisals[n])} nats = ${number(surprisals[n] * UNITS.bits)} bits`,
      `probability ${number(actual.probability, 3)}, number ${rank.toLocaleString("en")} of ${model.vocabulary.toLocaleString("en")}`);
  }
  return lines.join("\n");
}
function tokensView() {
  const root = byId("view-tokens");
  let unit = "nats";
  const holder = el("div", { class: "stage" });
  const known = surprisals.filter((value) => value !== null);
  if (known.length) {
    const buttons = Object.keys(UNITS).map((name) => el("button", {
      type: "button", "aria-pressed": name === unit, onclick: () => {
        unit = name;
        buttons.forEach((button) => button.setAttribute("aria-pressed", button.textContent === name));
        draw();
      },
    }, name));
    root.append(el("div", { class: "choice", role: "group", "aria-label": "Unit" }, buttons));
  }
  root.append(holder);
  function draw() {
    const limit = Math.max(1e-9, ...known) * UNITS[unit];
    const values = tokens.map((_, n) => surprisals[n] === null || surprisals[n] === undefined ? null : surprisals[n] * UNITS[unit]);
    holder.replaceChildren(
      known.length ? el("p", { class: "caption" }, legend("weight", limit), ` ${unit}, mean ${number((sum(known) / known.length) * UNITS[unit])} over ${known.length} tokens`) : "",
      running({ values, limit, describe: aboutToken }));
  }
  views.push(draw);
  followers.push(() => mark(holder));
}

// ---- 2 candidates -------------------------------------------------------------------------

function nextView() {
  const root = byId("view-next");
  if (!root) return;
  const holder = el("div", { class: "stage step" });
  root.append(el("div", { class: "controls" }, placeSlider()), holder);
  function draw() {
    const one = predictions[place];
    const shown = tokens.slice(Math.max(0, place - 30), place + 1 + (ahead ? 0 : 30));
    const from = Math.max(0, place - 30);
    const chips = shown.map((token, n) => el("li", { class: `chip${from + n === place ? " said" : ""}` },
      ...piece(!ahead && from + n === place && one ? "[MASK]" : visible(token.text))));
    const about = one === null ? "Nothing is said of this token: it is no text."
      : one.actual === null ? (ahead ? "The text ends here." : "The text does not say what stands here.")
      : `The text has ${quoted({ text: visible(one.actual.token) })}: number ${one.rank.toLocaleString("en")}, ` +
        `${number(one.surprisal)} nats = ${number(one.surprisal * UNITS.bits)} bits.`;
    holder.replaceChildren(
      el("div", {}, el("h4", {}, ahead ? "After reading" : "Reading, with one token hidden"),
        el("ol", { class: "chips" }, from ? el("li", { class: "chip later" }, "…") : null, chips), el("p", {}, about)),
      el("div", {}, el("h4", {}, ahead ? "Most probable next tokens" : "Most probable tokens here"), one ? bars(one.candidates, one.actual) : ""));
  }
  views.push(draw);
  followers.push(draw);
}

// ---- 3 attention --------------------------------------------------------------------------

// Rows of a head from 16-bit fractions of one; of a model that reads from left to right, rows end
// at the token that asks.
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const shares = new DataView(bytes.buffer);
  let at = 0;
  return tokens.map((_, i) => tokens.map((_, j) => (ahead && j > i ? 0 : shares.getUint16(2 * at++, true) / 65535)));
}
// The largest of each square of neighbours, so that a small picture shows what a large one does.
function shrunk(matrix, size) {
  const step = Math.ceil(matrix.length / size);
  const cells = Array.from({ length: Math.ceil(matrix.length / step) }, (_, n) => n * step);
  return cells.map((i) => cells.map((j) =>
    Math.max(...matrix.slice(i, i + step).map((row) => Math.max(...row.slice(j, j + step))))));
}
function attentionView() {
  const root = byId("view-attention");
  if (!root) return;
  for (const { heads } of attention) for (const head of heads) head.weights = unpacked(head.weights);
  const small = attention.map(({ layer, heads }) => ({ layer, heads: heads.map(({ head, weights }) => ({ head, weights: shrunk(weights, 64) })) }));
  const state = { layer: Math.floor(attention.length / 2), head: 0 };
  const heads = () => attention[state.layer].heads;
  const layerSlider = slider({
    label: "Layer", max: attention.length - 1, value: state.layer, say: (n) => `${attention[n].layer + 1} of ${model.layers}`,
    change: (n) => { state.layer = n; draw(); },
  });
  const headSlider = slider({
    label: "Head", max: heads().length - 1, value: 0, say: (n) => `${heads()[n].head + 1} of ${model.heads}`,
    change: (n) => { state.head = n; draw(); },
  });
  const text = el("div", {});
  const map = el("div", {});
  const overview = el("div", { class: "overview" });
  root.append(el("div", { class: "controls" }, layerSlider.node, headSlider.node, placeSlider()),
    el("div", { class: "stage figures" }, text, map), overview);
  const later = (i, j) => ahead === 1 && j > i;
  const between = (i, j) => `${quoted(labels[i])} → ${quoted(labels[j])}\n`;
  function drawText(asking = place) {
    const row = heads()[state.head].weights[asking];
    const limit = Math.max(...row);
    text.replaceChildren(
      el("p", { class: "caption" }, `How much ${quoted(labels[asking])} looks at each token `, legend("weight", limit)),
      running({ values: row.map((weight, j) => (later(asking, j) ? null : weight)), limit, later: (j) => later(asking, j),
        describe: (j) => between(asking, j) + (later(asking, j) ? "masked: it comes later" : `weight ${number(row[j])} = ${percent(row[j])}`) }));
  }
  function drawMap() {
    const { weights } = heads()[state.head];
    const describe = (i, j) => between(i, j) + (later(i, j) ? "masked: it comes later" : `weight ${number(weights[i][j])} = ${percent(weights[i][j])}`);
    const title = "Weights: every row sums to 1";
    map.replaceChildren(count <= TABLE
      ? table({
        title, rows: labels.map((t) => t.text), columns: labels.map((t) => t.text), matrix: weights, scale: "weight", limit: 1,
        width: root.clientWidth - 60, at: [place, argmax(weights[place])], hidden: later, describe, point: (i) => drawText(i),
        axes: ["rows look, columns are looked at"],
      })
      : strip({ title, names: labels, matrix: weights, scale: "weight", limit: 1, describe, hidden: later, row: place, point: (i) => drawText(i),
        height: Math.max(2, Math.min(13, Math.floor(900 / count))) }));
  }
  function draw() { drawText(); drawMap(); markHead(overview, attention[state.layer].layer, heads()[state.head].head); }
  function drawAll() {
    overview.replaceChildren(el("p", { class: "axes" }, "All heads at a glance. Choose one."),
      headGrid(small, (i, j) => ahead === 1 && j > i, (layer, head) => {
        state.layer = attention.findIndex((one) => one.layer === layer);
        state.head = heads().findIndex((one) => one.head === head);
        layerSlider.set(state.layer);
        headSlider.set(state.head);
        draw();
      }));
    draw();
  }
  views.push(drawAll);
  followers.push(() => { drawText(); drawMap(); mark(text); });
}

// ---- 4 logit lens -------------------------------------------------------------------------

function lensView() {
  const root = byId("view-lens");
  if (!root) return;
  const holder = el("div", { class: "stage" });
  root.append(holder);
  const name = (id) => visible(names[id] ?? `<${id}>`);
  const layerName = ({ layer }) => (layer === 0 ? "embedding" : layer === model.layers ? `layer ${layer}, the end` : `layer ${layer}`);
  function describe(one, n) {
    const listed = one.best[n].map((id, k) => `${name(id)} ${percent(one.probabilities[n][k])}`).join("\n");
    const { actual } = predictions[n] ?? {};
    const there = one.rank[n] === null || !actual ? "" : `\nthe text has ${name(actual.id)}: number ${one.rank[n].toLocaleString("en")}, ${percent(one.actual[n])}`;
    return `${layerName(one)}, ${ahead ? "after" : "at"} ${quoted(labels[n])}\n${listed}${there}`;
  }
  let heads = [];
  let scroll = null;
  function draw() {
    heads = labels.map((label, n) => el("th", { scope: "col", title: label.text, onclick: () => goTo(n) }, ...piece(label.text)));
    const rows = lens.map((one) => el("tr", {}, el("th", { scope: "row" }, layerName(one)), labels.map((_, n) => {
      const rgb = colour(one.probabilities[n][0], "weight", 1);
      return el("td", {
        class: one.rank[n] === 1 ? "right" : null, style: `background:${css(rgb)};color:${inkOn(rgb)}`, "aria-label": describe(one, n),
        onpointerenter: (event) => showTip(describe(one, n), event.clientX, event.clientY), onpointerleave: hideTip, onclick: () => goTo(n),
      }, ...piece(name(one.best[n][0])));
    })));
    scroll = el("div", { class: "scroll" }, el("table", { class: "lens" },
      el("thead", {}, el("tr", {}, el("th", {}, ahead ? "after" : "at"), heads)), el("tbody", {}, rows)));
    holder.replaceChildren(el("p", { class: "caption" }, "probability of the token in the cell ", legend("weight", 1)), scroll);
    follow();
  }
  function follow() {
    heads.forEach((head, n) => head.classList.toggle("on", n === place));
    scroll.scrollLeft = heads[place].offsetLeft - scroll.clientWidth / 2;
  }
  views.push(draw);
  followers.push(follow);
}

// ---- 5 experts ----------------------------------------------------------------------------

function expertsView() {
  const root = byId("view-experts");
  if (!root) return;
  const state = { layer: 0, expert: 0 };
  const experts = routing[0].load.map((_, n) => `expert ${n + 1}`);
  const layerSlider = slider({
    label: "Layer", max: routing.length - 1, value: 0, say: (n) => `${routing[n].layer + 1} of ${model.layers}`,
    change: (n) => { state.layer = n; draw(); },
  });
  const expertSlider = slider({
    label: "Expert", max: experts.length - 1, value: 0, say: (n) => `${n + 1} of ${experts.length}`,
    change: (n) => { state.expert = n; drawText(); },
  });
  const load = el("div", {});
  const text = el("div", {});
  const map = el("div", {});
  root.append(el("div", { class: "stage" }, load), el("div", { class: "controls" }, layerSlider.node, expertSlider.node),
    el("div", { class: "stage figures" }, text, map));
  function choose(layer, expert) {
    Object.assign(state, { layer, expert });
    layerSlider.set(layer);
    expertSlider.set(expert);
    draw();
  }
  const gate = (i, j) => `${quoted(labels[i])}, expert ${j + 1}\n` + (routing[state.layer].gates[i][j]
    ? `gate ${number(routing[state.layer].gates[i][j])}` : "it did not take this token");
  function drawText() {
    const { gates, load: shares } = routing[state.layer];
    const taken = gates.filter((row) => row[state.expert] > 0).length;
    text.replaceChildren(
      el("p", { class: "caption" }, `Expert ${state.expert + 1} took ${taken} of ${count} tokens, ${percent(shares[state.expert])} of all that were given out; shaded by the gate `, legend("weight", 1)),
      running({ values: gates.map((row) => row[state.expert] || null), limit: 1, describe: (n) => gate(n, state.expert) }));
  }
  function draw() {
    drawText();
    const { gates } = routing[state.layer];
    const title = "Gates: which expert takes which token";
    const wide = { title, matrix: gates, scale: "weight", limit: 1, describe: gate, hidden: (i, j) => gates[i][j] === 0 };
    map.replaceChildren(count <= 2 * TABLE && experts.length <= 32
      ? table({ ...wide, rows: labels.map((t) => t.text), columns: experts, width: root.clientWidth - 60, at: [0, argmax(gates[0])], point: () => {} })
      : strip({ ...wide, names: labels, height: Math.max(3, Math.min(13, Math.floor(1200 / count))) }));
  }
  function drawAll() {
    const loads = routing.map((one) => one.load);
    const limit = Math.max(...loads.flat());
    load.replaceChildren(table({
      title: "Load: the share of all tokens given out in a layer", rows: routing.map(({ layer }) => `layer ${layer + 1}`), columns: experts,
      matrix: loads, scale: "weight", limit, width: root.clientWidth - 60, at: [state.layer, state.expert], point: choose,
      describe: (i, j) => `layer ${routing[i].layer + 1}, expert ${j + 1}\n${percent(loads[i][j])} of what was given out, ${number(loads[i][j] * experts.length, 3)} of an even share`,
    }));
    draw();
  }
  views.push(drawAll);
  followers.push(() => mark(text));
}

// ---- the page -----------------------------------------------------------------------------

const longest = Math.max(5, ...labels.map((label) => label.text.length));
document.documentElement.style.setProperty("--names", `${Math.min(8, 0.5 * longest + 0.6)}rem`);
paint();
tokensView();
nextView();
attentionView();
if (carried.length) carriedView(byId("view-memory"), carried, labels);
lensView();
expertsView();
live(() => goTo(place));
