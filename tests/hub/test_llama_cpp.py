"""llama.cpp itself loads the GGUF files that are written, cuts and scores texts alike."""

import math

import pytest
import torch

from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.tasks.export import export_model
from peluche.tasks.load import load_completer
from peluche.text.tokenizer import TokenizerConfig

xllamacpp = pytest.importorskip("xllamacpp")

TEXTS = ["A cute teddy bear is reading.\n", "  Un ours lit déjà 1234 livres; it's “fine”!"]
SIZES = {
    "d_model": 64, "layers": 2, "heads": 2, "kv_heads": 1, "d_ff": 96, "max_length": 128,
    "norm": "rmsnorm", "activation": "swiglu", "bias": False, "dropout": 0.0,
}  # fmt: skip
ARCHITECTURES = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}
# Of one token's log-probability, and of their mean: llama.cpp rounds what it multiplies matrices of
# half precision with to half precision, and with others to 8 bits.
ERRORS = {"F32": (2e-5, 1e-5), "F16": (5e-3, 1e-3), "Q8_0": (0.2, 0.02), "Q4_0": (0.2, 0.02)}


class Scorer:
    """llama.cpp with a memory in float32."""

    def __init__(self, path, tokenizer):
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel = 128, 1
        parameters.verbosity, parameters.warmup = 0, False
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server, self.vocabulary = xllamacpp.Server(parameters), len(tokenizer)
        # What it says has to be text, or it keeps the log-probabilities back; they are those
        # before this bias.
        self.text = tokenizer.id("A")

    def next(self, prompt):
        """How many tokens a prompt has, and the log-probability of each to be the next."""
        asked = {"prompt": prompt, "n_predict": 1, "temperature": 0.0, "cache_prompt": False}
        asked |= {"n_probs": self.vocabulary, "logit_bias": [[self.text, 1e4]]}
        answer = self.server.handle_completions(asked)
        found = torch.full((self.vocabulary,), math.nan)
        for one in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            found[one["id"]] = one["logprob"]
        return answer["usage"]["prompt_tokens"], found


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

    ours, theirs = load_completer(path), Scorer(path, tokenizer)
    each, mean = ERRORS[format]
    for text in TEXTS:
        ids = tokenizer.encode(text, bos=True)
        logits = ours.model.logits(ours.model.hidden(torch.tensor([ids])))[0]
        expected = logits.log_softmax(-1)
        found = torch.stack([theirs.next(ids[:end])[1] for end in range(1, len(ids) + 1)])
        torch.testing.assert_close(found, expected, atol=each, rtol=0)
        told = torch.tensor(ids[1:])[:, None]
        scores = [rows[:-1].gather(1, told).mean() for rows in (found, expected)]
        assert abs(scores[0] - scores[1]) < mean
        count, after = theirs.next(text)  # cut by llama.cpp
        assert count == len(ids)
        torch.testing.assert_close(after, found[-1], atol=1e-6, rtol=0)
