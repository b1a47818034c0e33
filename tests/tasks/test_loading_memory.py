"""Loading a model needs the memory of its weights once."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.models.decoder import DecoderConfig
from talking import TOKENIZER, make_run

LARGE = {"d_model": 512, "layers": 8, "heads": 8, "d_ff": 2048, "dropout": 0.0}
LLAMA = {**LARGE, "activation": "swiglu", "norm": "rmsnorm", "bias": False}
GPT2 = {**LARGE, "activation": "gelu", "norm": "layernorm", "positions": "learned", "bias": True}
# What all of them need is imported, and so is no part of what is measured.
PROGRAM = """
import sys
import peluche, peluche.tasks.load

def kibibytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

small, large = sys.argv[1:]
peluche.load(small)
before = kibibytes("VmRSS")
model = peluche.load(large).model
print((kibibytes("VmHWM") - before) * 1024, sum(each.nbytes for each in model.parameters()))
"""


def make(form, folder, values):
    """A model of these settings in this form."""
    path = folder / "made"
    if form == "run":
        return make_run(path, **values)
    torch.manual_seed(0)
    model = DecoderConfig.parse(values).build(len(TOKENIZER))
    parts = model.config, model.state_dict(), TOKENIZER, path
    if form == "gguf":
        export_gguf(*parts, "Q8_0")
        return path
    export_huggingface_decoder(*parts)
    if form == "bfloat16":
        weights = load_file(path / "model.safetensors")
        halves = {name: tensor.bfloat16() for name, tensor in weights.items()}
        save_file(halves, path / "model.safetensors")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(
    ("form", "values"),
    [("run", LLAMA), ("gguf", LLAMA), ("float32", LLAMA), ("bfloat16", LLAMA), ("gpt2", GPT2)],
)
def test_weights_are_held_once(tmp_path, form, values):
    paths = []
    for name, changes in (("small", {"layers": 1, "d_model": 32, "d_ff": 64}), ("large", {})):
        folder = tmp_path / name
        folder.mkdir()
        paths.append(str(make(form, folder, {**values, **changes})))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=True
    )
    peak, weights = map(int, done.stdout.split())
    assert weights > 80e6
    # Nothing is transposed in place, and glibc does not use again all that is freed.
    assert peak < (1.6 if form == "gpt2" else 1.3) * weights
