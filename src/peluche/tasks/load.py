"""From the name of a model to something that does its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from peluche.errors import CheckpointError
from peluche.generation.config import DecodingConfig
from peluche.hub.resolve import resolve
from peluche.hub.run import RunDirectory
from peluche.inference.decoding import PackedDecoder
from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.registry import parse_model
from peluche.tasks.translate import Translator


def load_task(model: str | Path, *, weights: str = "model", **decoding: Any) -> Translator:
    """Open a trained model and make ready what it does.

    Args:
        model: whatever `peluche.hub.resolve` takes, e.g. a run directory.
        weights: which of the run's weights: model, best, averaged, ...
        decoding: settings in place of those of the run, e.g. `beams=1`.

    Raises:
        CheckpointError: if there is no such model, or it is damaged.
        ConfigError: for settings that are not known or do not go together.
    """
    run = resolve(model)
    tokenizer = run.tokenizer()
    settings = {**(run.config.get("decoding") or {}), **decoding}
    loaded = load_model(run, len(tokenizer), weights)
    return Translator(
        loaded,
        tokenizer,
        DecodingConfig.parse(settings, where="the decoding options"),
        PackedDecoder(loaded),
    )


def load_model(run: RunDirectory, vocabulary: int, weights: str = "model") -> EncoderDecoder:
    """The model of a run with the weights of that name, ready to decode.

    Raises:
        CheckpointError: if config and weights are absent, damaged, or do not belong together.
    """
    where = run.path / "config.yaml"
    config = run.config
    if "model" not in config:
        raise CheckpointError(
            "this run's config has no 'model'",
            where=where,
            remedy="use the folder of a run that trains a model",
        )
    model = parse_model(config["model"], where=str(where)).build(vocabulary)
    return _fill(model, run.load_weights(weights), run.path / f"{weights}.safetensors")


def _fill(model: EncoderDecoder, tensors: dict[str, Tensor], where: Path) -> EncoderDecoder:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n", 1)[-1].split())
        raise CheckpointError(
            f"the weights are not those of the model in config.yaml: {reason}",
            where=where,
            remedy="copy the run again from where it was trained",
        ) from None
    return model.eval()
