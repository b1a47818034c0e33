"""Decoders and encoders as ONNX graphs, which run without torch."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from peluche.errors import ConfigError, MissingExtraError
from peluche.files import write_text
from peluche.hub.exported import new_folder
from peluche.models.decoder import Decoder
from peluche.models.encoder import Encoder
from peluche.models.transformer import TransformerConfig, layer_masks
from peluche.nn.masks import Mask, PreparedMask, Window, causal
from peluche.nn.stack import LayerMasks
from peluche.text.tokenizer import Tokenizer

MODEL = "model.onnx"
# Positions whose parts look at values while they compute, which a graph cannot.
POSITIONS = ("rope", "learned", "alibi", "none")
LONGEST = 1 << 20


class _DecoderGraph(nn.Module):
    """tokens (batch, length) → logits (batch, length, vocabulary)."""

    inputs, output = ("tokens",), "logits"

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        model = self.model
        places = torch.arange(tokens.shape[1], device=tokens.device)

        def seen(window: int | None) -> PreparedMask:
            return PreparedMask(None if window is None else _dense(causal(window), places))

        masks = layer_masks(model.config.windows(model.config.layers), seen)
        return model.logits(model.decoder(tokens, places, masks))


class _EncoderGraph(nn.Module):
    """tokens and valid (batch, length) → hidden (batch, length, d_model)."""

    inputs, output = ("tokens", "valid"), "hidden"

    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        model = self.model
        places = torch.arange(tokens.shape[1], device=tokens.device)
        present = valid[:, None, None]

        def seen(window: int | None) -> PreparedMask:
            return PreparedMask(
                present if window is None else present & _dense(Window(window), places)
            )

        hidden = model.encoder.embed(tokens)
        if model.segments is not None:
            hidden = hidden + model.segments.weight[0]
        masks: LayerMasks = layer_masks(model.config.windows(model.config.layers), seen)
        return model.encoder(hidden, places, masks)


def _dense(mask: Mask, places: Tensor) -> Tensor:
    return mask.visible(places[:1, None, None], places[:, None], places)[None, None]


def export_onnx(model: Decoder | Encoder, tokenizer: Tokenizer, folder: Path) -> str:
    """Write `model.onnx` and the tokenizer; batch and length are free.

    A decoder takes `tokens` and gives `logits`; an encoder takes `tokens` and `valid` (False at
    padding, each row has a token) and gives `hidden`.

    Args:
        folder: one that does not exist yet.

    Returns:
        The names of inputs and output.

    Raises:
        MissingExtraError: when the package onnxscript is not installed.
        ConfigError: when a graph cannot express the model; or `folder` is in use.
        CheckpointError: when it cannot be written.
    """
    _require_expressible(model.config)
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "exporting to ONNX needs the packages onnx and onnxscript",
            remedy="pip install 'peluche[onnx]'",
        ) from None
    graph = _DecoderGraph(model) if isinstance(model, Decoder) else _EncoderGraph(model)
    tokens = torch.arange(6).view(2, 3) % model.vocabulary
    example = (tokens, torch.ones(2, 3, dtype=torch.bool))[: len(graph.inputs)]
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=2, max=LONGEST)}
    if model.longest is not None:
        axes[1] = torch.export.Dim("length", min=2, max=model.longest)
    needed = sum(parameter.nbytes for parameter in model.parameters())
    with new_folder(folder, needed) as made:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.eval(),
                example,
                dynamo=True,
                dynamic_shapes=dict.fromkeys(graph.inputs, axes),
                input_names=list(graph.inputs),
                output_names=[graph.output],
                verbose=False,
            )
            assert program is not None
            program.save(made / MODEL)
        tokenizer.save(made / "tokenizer.json")
        facts: dict[str, Any] = {
            "special": tokenizer.special._asdict(),
            "vocabulary": model.vocabulary,
        }
        write_text(made / "peluche.json", json.dumps(facts, indent=2) + "\n")
    return f"{', '.join(graph.inputs)} → {graph.output}"


def _require_expressible(config: TransformerConfig) -> None:
    obstacles = []
    if config.positions not in POSITIONS:
        obstacles.append(f"model.positions={config.positions}")
    if config.experts is not None:
        obstacles.append("model.experts")
    if obstacles:
        raise ConfigError(
            f"an ONNX graph cannot express {', '.join(obstacles)} here",
            where="the model's config",
            remedy=f"train without, with positions {', '.join(POSITIONS)}",
        )
