"""GGUF files of every architecture that is read, against llama.cpp."""

import pytest
import torch
from llama_cpp_judge import LlamaCpp

from gguf_models import CASES, write
from peluche.tasks.load import load_completer
from peluche.text.pretrained import to_gguf
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A cute teddy bear is reading.", "Bears, 12 of them — it's 3 o'clock!"]
# llama.cpp looks GELU up in a table of half precision.
LOOKED_UP = ("gemma", "gpt2", "starcoder2")


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(vocab_size=300, byte_level=True, normalization="none")
    return config.build(TEXTS * 3)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_logits_are_those_of_llama_cpp(tokenizer, tmp_path, case):
    path = tmp_path / "a.gguf"
    written = write(path, case, to_gguf(tokenizer))
    ours, theirs = load_completer(path), LlamaCpp(path, len(tokenizer), tokenizer.id("A"))
    ids = torch.tensor([tokenizer.encode(TEXTS[0] + TEXTS[1] * 5, bos=True)])
    found = ours.model.logits(ours.model.hidden(ids))[0].log_softmax(-1)
    torch.testing.assert_close(found, written.logits(written.hidden(ids))[0].log_softmax(-1))
    for end in (2, ids.shape[1]):
        expected = theirs.next(ids[0, :end].tolist())
        error = 1e-3 if case.startswith(LOOKED_UP) else 1e-5
        torch.testing.assert_close(found[end - 1], expected, atol=error, rtol=0)
