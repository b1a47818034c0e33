// What a recurrent model carries from token to token, layer by layer; drawn with figures.js.
function carriedView(root, layers, tokens) {
  let chosen = 0;
  const holder = el("div", { class: "stage figures" });
  const name = ({ layer, direction }) => `layer ${layer + 1}, ${direction}`;
  function draw() {
    const { signals, change } = layers[chosen];
    holder.replaceChildren(...signals.map((signal) => strip({
      title: signal.gate ? `${signal.name} gate` : signal.name,
      names: tokens,
      matrix: signal.values,
      scale: signal.gate ? "weight" : "signed",
      limit: signal.gate ? 1 : largest(signal.values),
      bars: signal.name === "hidden" ? change : null,
      describe: (i, j) => `${quoted(tokens[i])}, unit ${j + 1} of ${signal.values[i].length}\n` +
        `${signal.name} ${number(signal.values[i][j])}` +
        (change.length ? `\nnew in the state: ${percent(change[i])}` : ""),
    })));
  }
  const range = slider({
    label: "Layer", max: layers.length - 1, value: 0, wide: true, say: (n) => name(layers[n]),
    change: (n) => { chosen = n; draw(); },
  });
  root.append(el("div", { class: "controls" }, range.node), holder);
  views.push(draw);
}
