"""ONNX graphs against the models that they were made from, at other sizes than the example."""

import json
import subprocess
import sys

import numpy as np
import pytest

from peluche.errors import ConfigError
from peluche.hub.onnx import export_onnx
from peluche.models.decoder import DecoderConfig
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 32, "dropout": 0.0, "max_length": 40}
LLAMA = {"norm": "rmsnorm", "activation": "swiglu", "kv_heads": 1, "bias": False}
DECODERS = {
    "llama": LLAMA,
    "gpt2": {"positions": "learned", "activation": "gelu_tanh"},
    "windows": {"window": {"size": 4, "global_every": 2}, "qk_norm": True, "logit_softcap": 5},
    "latent": {"bias": False, "latent": {"kv_rank": 8, "rope_width": 4}},
}
ENCODERS = {
    "bert": {},
}
SHAPES = [(1, 2), (2, 3), (3, 40)]
# In a process of its own: shapes that are checked while a test runs do not go through a trace.
SCRIPT = """
import json, sys
import numpy as np, torch
from pathlib import Path
from peluche.hub.onnx import export_onnx
from peluche.models.decoder import DecoderConfig
from peluche.models.encoder import EncoderConfig
from peluche.text.tokenizer import TokenizerConfig

folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
tokenizer = TokenizerConfig(kind="character").build(["a cute teddy bear is reading"])
for name, (kind, values) in cases.items():
    torch.manual_seed(0)
    config = {"decoder": DecoderConfig, "encoder": EncoderConfig}[kind].parse(values)
    model = config.build(len(tokenizer)).eval()
    print(export_onnx(model, tokenizer, folder / name))
    for number, shape in enumerate(json.loads(sys.argv[3])):
        tokens = torch.randint(0, len(tokenizer), shape)
        valid = torch.arange(shape[1]) < torch.randint(1, shape[1] + 1, shape[:1])[:, None]
        with torch.no_grad():
            if kind == "decoder":
                out = model.logits(model.hidden(tokens))
            else:
                out = model.hidden(tokens, valid=valid)
        arrays = {"tokens": tokens, "valid": valid, "out": out}
        np.savez(folder / f"{name}-{number}.npz", **{k: v.numpy() for k, v in arrays.items()})
"""


@pytest.mark.slow
def test_graphs_give_what_models_give(tmp_path):
    cases = {name: ("decoder", {**SMALL, **values}) for name, values in DECODERS.items()}
    cases |= {name: ("encoder", {**SMALL, **values}) for name, values in ENCODERS.items()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(cases), json.dumps(SHAPES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said == ["tokens → logits"] * len(DECODERS) + ["tokens, valid → hidden"]
    for name in cases:
        graph = onnxruntime.InferenceSession(str(tmp_path / name / "model.onnx"))
        assert len(Tokenizer.load(tmp_path / name)) > 10
        for number in range(len(SHAPES)):
            saved = np.load(tmp_path / f"{name}-{number}.npz")
            valid = saved["valid"] if name in ENCODERS else np.ones_like(saved["valid"])
            inputs = {"tokens": saved["tokens"]}
            if name in ENCODERS:
                inputs["valid"] = valid
            (found,) = graph.run(None, inputs)
            expected = saved["out"]
            np.testing.assert_allclose(
                found[valid], expected[valid], atol=1e-5, rtol=1e-4, err_msg=name
            )


@pytest.mark.parametrize("changes", [{"positions": "relative"}, {"experts": {"count": 2}}])
def test_what_a_graph_cannot_express_is_refused(changes, tmp_path):
    tokenizer = TokenizerConfig(kind="byte").build([])
    model = DecoderConfig.parse({**SMALL, **changes}).build(len(tokenizer))
    with pytest.raises(ConfigError, match=next(iter(changes))):
        export_onnx(model, tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()
