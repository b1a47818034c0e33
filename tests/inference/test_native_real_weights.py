"""SmolLM2 by the operator, in the weights that its speed is measured with."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import peluche
from peluche.data.locate import found
from peluche.hub import model_catalogue
from peluche.inference.native.build import native_library
from peluche.inference.native.runner import NativeRunner
from peluche.inference.runner import Chunk, fastest_runner

MODEL = "smollm2-135m-instruct"
pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(
        model_catalogue.find_pretrained(MODEL) is None, reason=f"needs: peluche models pull {MODEL}"
    ),
    pytest.mark.skipif("PELUCHE_DATA" not in os.environ, reason="PELUCHE_DATA names no folder"),
]


@pytest.mark.parametrize("kv_cache", ["float32", "float16", "int8"])
def test_perplexity_is_within_half_a_percent_and_no_row_depends_on_others(kv_cache):
    if native_library() is None:
        pytest.skip("there is no C++ compiler")
    completer = peluche.load(MODEL)
    model = completer.model.eval()
    text = found(Path("tinyshakespeare/input.txt")).read_bytes()[:20_000].decode()
    windows = torch.tensor(completer.tokenizer.encode(text)[:1024]).view(2, 512)
    with torch.inference_mode():
        exact = model.logits(model.hidden(windows[:, :-1])).flatten(0, 1)
    runner = fastest_runner(model, blocks=64, kv_cache=kv_cache)
    assert isinstance(runner, NativeRunner)
    first, second = windows[:, :-1].tolist()
    logits = runner.run([Chunk(first, 0, range(32), 511), Chunk(second, 0, range(32, 64), 511)])
    targets = windows[:, 1:].flatten()
    change = F.cross_entropy(logits, targets) - F.cross_entropy(exact, targets)
    assert abs(change.expm1()) < 0.005
    # Alone, and in pieces of other sizes: the same to the bit.
    runner.run([Chunk(second[:200], 0, range(32), 0)])
    alone = runner.run([Chunk(second[200:], 200, range(32), 311)])
    assert torch.equal(alone, logits[-311:])
