// A sentence's way through an encoder-decoder, drawn with figures.js.
const data = JSON.parse(document.getElementById("data").textContent);
const { model, source, target, encoder, decoder, steps, beam, alignment, result } = data;
const written = [decoder.tokens[0], ...target.tokens];

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

// ---- 2 embedding and position -------------------------------------------------------------

function embeddingView() {
  const root = byId("view-embedding");
  const at = (matrix, i, j) => number(matrix[i][j]);
  function draw() {
    const { embedding, positions, turns, input, tokens, embedding_scale: scale } = encoder;
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
      }),
      turns && strip({
        title: "Position: cosine of the angle by which each pair of numbers of a query or key is turned",
        names: tokens.map((_, i) => ({ text: `place ${i}` })), matrix: turns, limit: 1,
        describe: (i, j) => `place ${i}, pair ${j + 1} of ${turns[i].length}\ncos = ${at(turns, i, j)}`,
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
    const figures = el("div", { class: `figures ${columns.length > 20 ? "" : columns.length > 11 ? "pair wide" : "pair"}` });
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
    overview.replaceChildren(
      el("p", { class: "axes" }, `All heads at a glance (${title.toLowerCase()}, weights). Choose one.`),
      headGrid(layers.map((heads, layer) => ({ layer, heads: heads.map((h, head) => ({ head, weights: h.weights })) })),
        masked, (layer, head) => {
          Object.assign(state, { layer, head });
          layerSlider.set(layer);
          headSlider.set(head);
          changed();
        }));
    markOverview();
  }
  function markOverview() { markHead(overview, state.layer, state.head); }
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
        bars(candidates, chosen),
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
        `; ${node.best ? (node.state === "finished" ? `the ${result}` : `on the way to the ${result}`) : fate}`));
  }
  const width = 16 + (columns.length - 1) * dx + w;
  const height = 12 + Math.max(...columns.map((column) => column.length)) * dy;
  const finished = nodes.filter((node) => node.state === "finished").sort((a, b) => b.score - a.score);
  const swatch = (style, text) => el("span", {}, el("i", { style }), text);
  root.append(
    el("div", { class: "stage" },
      el("p", { class: "key" },
        swatch("background:var(--accent)", `the way to the ${result}`), swatch("", "kept alive"),
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
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, result), el("th", { scope: "col", class: "number log" }, "log-probability"),
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

live(() => lit());

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
