"""A run that was "trained to talk": a tokenizer with turns, and a decoder drawn at random."""

import torch

from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.text.chat import TURN, TURN_END
from peluche.text.tokenizer import TokenizerConfig

MODEL = {"kind": "decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
CORPUS = ["What is the bear reading?", "system user assistant", "He's reading: été 🧸."]
TOKENIZER = TokenizerConfig.parse(
    {"kind": "bpe", "byte_level": True, "vocab_size": 290, "normalization": "none"}
    | {"special": (TURN, TURN_END)}
).build(CORPUS)


def make_run(folder, tokenizer=TOKENIZER, **model):
    """A run directory; its model says anything."""
    values = {**MODEL, **model}
    run = RunDirectory.create(folder, {"task": "language_modelling", "model": values})
    run.save_tokenizer(tokenizer)
    torch.manual_seed(1)
    made = DecoderConfig.parse(values).build(len(tokenizer))
    run.save_weights(dict(made.state_dict()))
    return folder
