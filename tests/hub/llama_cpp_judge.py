"""llama.cpp, as a judge of what a GGUF file says."""

import json
import math
import urllib.request

import pytest
import torch

xllamacpp = pytest.importorskip("xllamacpp")


class LlamaCpp:
    """A file in llama.cpp, its memory in float32.

    Args:
        text: a token that is text. What it says has to be, or it keeps log-probabilities back.
    """

    def __init__(self, path, vocabulary, text):
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel = 128, 1
        parameters.verbosity, parameters.warmup = 0, False
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server, self.vocabulary, self.text = xllamacpp.Server(parameters), vocabulary, text

    def next(self, prompt):
        """The log-probability of each token to be the next of a text or of tokens."""
        answer = self._said(prompt)
        found = torch.full((self.vocabulary,), math.nan)
        for one in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            found[one["id"]] = one["logprob"]
        return found

    def length(self, prompt):
        """How many tokens it cuts a text into, those before and after it too."""
        return self._said(prompt)["usage"]["prompt_tokens"]

    def _said(self, prompt):
        asked = {"prompt": prompt, "n_predict": 1, "temperature": 0.0, "cache_prompt": False}
        asked |= {"n_probs": self.vocabulary, "logit_bias": [[self.text, 1e4]]}
        return self.server.handle_completions(asked)

    def tokenize(self, text):
        return self._ask("tokenize", content=text, add_special=False, parse_special=False)["tokens"]

    def detokenize(self, tokens):
        return self._ask("detokenize", tokens=tokens)["content"]

    def _ask(self, what, **values):
        request = urllib.request.Request(
            f"{self.server.listening_address}/{what}",
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
