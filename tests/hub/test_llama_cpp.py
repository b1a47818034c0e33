"""llama.cpp itself loads the GGUF files that are written, cuts and scores texts alike."""

import pytest
import torch
from llama_cpp_judge import LlamaCpp

from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.tasks.export import export_model
from peluche.tasks.load import load_completer
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A cute teddy bear is reading.\n", "  Un ours lit déjà 1234 livres; it's “fine”!"]
SIZES = {
    "d_model": 64, "layers": 2, "heads": 2, "kv_heads": 1, "d_ff": 96, "max_length": 128,
    "norm": "rmsnorm", "activation": "swiglu", "bias": False, "dropout": 0.0,
}  # fmt: skip
ARCHITECTURES = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
# Of one token's log-probability, and of their mean: llama.cpp rounds what it multiplies matrices of
# half precision with to half precision, and with others to 8 bits.
ERRORS = {"F32": (2e-5, 1e-5), "F16": (5e-3, 1e-3), "Q8_0": (0.2, 0.02), "Q4_0": (0.2, 0.02)}


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(vocab_size=330, byte_level=True, normalization="none")
    return config.build(TEXTS * 3)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("format", ERRORS)
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_llama_cpp_scores_alike(tokenizer, tmp_path, name, format, tied):
    config = DecoderConfig.parse({**SIZES, **ARCHITECTURES[name], "tie_embeddings": tied})
    torch.manual_seed(0)
    model = config.build(len(tokenizer))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    run = RunDirectory.create(
        tmp_path / "run", {"task": "language_modelling", "model": config.model_dump()}
    )
    run.save_tokenizer(tokenizer)
    run.save_weights(model.state_dict())
    said = []
    path = export_model(str(run.path), "gguf", format=format, say=said.append)
    assert said == [f"written for llama.cpp, as {name}"]

    ours, theirs = load_completer(path), LlamaCpp(path, len(tokenizer), tokenizer.id("A"))
    each, mean = ERRORS[format]
    for text in TEXTS:
        ids = tokenizer.encode(text, bos=True)
        logits = ours.model.logits(ours.model.hidden(torch.tensor([ids])))[0]
        expected = logits.log_softmax(-1)
        found = torch.stack([theirs.next(ids[:end]) for end in range(1, len(ids) + 1)])
        torch.testing.assert_close(found, expected, atol=each, rtol=0)
        told = torch.tensor(ids[1:])[:, None]
        scores = [rows[:-1].gather(1, told).mean() for rows in (found, expected)]
        assert abs(scores[0] - scores[1]) < mean
        assert theirs.length(text) == len(ids)  # cut by llama.cpp
        torch.testing.assert_close(theirs.next(text), found[-1], atol=1e-6, rtol=0)
