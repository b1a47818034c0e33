// A sentence's way through a recurrent network, drawn with figures.js.
const data = JSON.parse(document.getElementById("data").textContent);
const { source, target, written, encoder, decoder, attention, steps, beam, alignment } = data;
const barSource = [...byId("bar-source").children];
const barTarget = [...byId("bar-target").children];

// ---- decoding -----------------------------------------------------------------------------

function stepView() {
  const root = byId("view-step");
  const all = [written[0], ...target.tokens];
  const holder = el("div", { class: "stage step" });
  let step = 0;
  const range = slider({
    label: "Step", max: steps.length - 1, value: 0, wide: true, change: goTo,
    say: (n) => `${n + 1} of ${steps.length}: ${all[n].text} → ${all[n + 1].text}`,
  });
  root.append(el("div", { class: "controls" }, range.node), holder);
  function goTo(to) { step = to; draw(); }
  function draw() {
    const { candidates, chosen, rank, log_probability } = steps[step];
    const looks = attention && source.tokens.map((token, j) => {
      const chip = el("li", { class: "chip", title: percent(attention[step][j]) }, ...piece(token.text));
      shade(chip, attention[step][j]);
      return chip;
    });
    if (attention) attention[step].forEach((weight, j) => shade(barSource[j], weight));
    barTarget.forEach((chip, n) => chip.classList.toggle("asking", n === step + 1));
    holder.replaceChildren(
      el("div", {},
        el("h4", {}, "Written so far, and the token chosen now"),
        el("ol", { class: "chips" }, all.map((token, n) =>
          el("li", { class: `chip${n === step + 1 ? " said" : n > step ? " later" : ""}` }, ...piece(token.text)))),
        looks && el("h4", {}, "Where it looks in the source"),
        looks && el("ol", { class: "chips" }, looks),
        looks && el("p", {}, legend("weight", 1)),
        el("p", {}, `${step ? `All ${step + 1} tokens so far together: probability` : "Probability"} ` +
          `${number(Math.exp(log_probability), 3)}, log-probability ${number(log_probability)}.`)),
      el("div", {},
        el("h4", {}, "Most probable next tokens"),
        bars(candidates, chosen),
        rank > 1 ? el("p", {}, `The chosen token is number ${rank} here: the sentence as a whole scores best this way.`) : null));
  }
  views.push(draw);
}

// ---- beam and alignment -------------------------------------------------------------------

function beamView() {
  const finished = beam.nodes.filter((node) => node.state === "finished").sort((a, b) => b.score - a.score);
  byId("view-beam").append(el("div", { class: "scroll" }, el("table", { class: "results" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "translation"),
      el("th", { scope: "col", class: "number log" }, "log-probability"), el("th", { scope: "col", class: "number" }, "score"))),
    el("tbody", {}, finished.map((node) => el("tr", { class: node.best ? "best" : null },
      el("td", {}, node.text), el("td", { class: "number log" }, number(node.log_probability)),
      el("td", { class: "number" }, number(node.score))))))));
}

function alignmentView() {
  const root = byId("view-alignment");
  if (!root) return;
  const holder = el("div", { class: "stage" });
  root.append(holder);
  views.push(() => holder.replaceChildren(table({
    title: "Rows were written looking at columns", rows: target.words, columns: source.words,
    matrix: alignment[0], scale: "weight", limit: 1, width: root.clientWidth, at: [0, 0], point: () => {},
    describe: (i, j) => `${target.words[i]} ← ${source.words[j]}\n${percent(alignment[0][i][j])}`,
  })));
}

const longest = Math.max(7, ...[...source.tokens, ...written].map((token) => token.text.length));
document.documentElement.style.setProperty("--names", `${Math.min(8, 0.5 * longest + 0.6)}rem`);
paint();
carriedView(byId("view-encoder"), encoder, source.tokens);
stepView();
carriedView(byId("view-decoder"), decoder, written);
beamView();
alignmentView();

live();
