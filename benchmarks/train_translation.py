"""Training speed against Hugging Face `Seq2SeqTrainer`: same sizes, same batches, same optimizer.

    python benchmarks/train_translation.py --size small

Prints target tokens/s, peak memory over imports, and model FLOPs as a share of this machine's
measured matrix-product rate. Contestants run in turn in processes of their own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from side_by_side import compete, table

SIZES = {
    "tiny": {"d_model": 128, "layers": 3, "heads": 4, "d_ff": 512},
    "small": {"d_model": 256, "layers": 3, "heads": 4, "d_ff": 1024},
    "base": {"d_model": 512, "layers": 6, "heads": 8, "d_ff": 2048},
}
SMOOTHING, LR, CLIP = 0.1, 1e-3, 1.0


def batches_for(options: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """The tokenizer and the batches that both sides train on."""
    from peluche.data.batching import BatchingConfig, TranslationStream
    from peluche.data.sources import BuiltinSource
    from peluche.text.tokenizer import TokenizerConfig

    if options["data"] == "builtin":
        source: Any = BuiltinSource(size=20_000)
    else:
        from peluche.data.sources import CatalogueSource

        source = CatalogueSource(name="multi30k", languages=("en", "fr"))
    pairs = list(source.read())
    texts = (text for pair in pairs for text in (pair.source, pair.target))
    tokenizer = TokenizerConfig(vocab_size=options["vocabulary"]).build(texts)
    stream = TranslationStream(lambda: pairs, tokenizer, BatchingConfig(tokens=options["tokens"]))
    return tokenizer, [batch for batch, _ in islice(stream.batches(), options["steps"])]


def config_for(options: Mapping[str, Any]) -> Any:
    from peluche.models.encoder_decoder import EncoderDecoderConfig

    return EncoderDecoderConfig(
        **SIZES[options["size"]], norm_placement="post", dropout=options["dropout"]
    )


def peluche(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    """The loop's own step, without hooks."""
    import tempfile
    from pathlib import Path

    import torch

    from peluche.data.batching import Position
    from peluche.hub.run import RunDirectory
    from peluche.nn.machine import tune_allocator
    from peluche.objectives.translation import TranslationConfig
    from peluche.processes import ALONE
    from peluche.training.config import TrainingConfig
    from peluche.training.events import EvaluateEvent
    from peluche.training.loop import Trainer
    from peluche.training.optimizers import OptimizerConfig
    from peluche.training.schedules import Constant

    tune_allocator()
    torch.manual_seed(0)
    tokenizer, batches = batches_for(options)
    model = config_for(options).build(len(tokenizer))
    training = TrainingConfig(steps=10**9, clip=CLIP, precision=options["precision"])

    class Again:
        def batches(self, position: Position) -> Any:
            while True:
                for batch in batches:
                    yield batch, position

        def batches_per_epoch(self) -> int:
            return len(batches)

    objective = TranslationConfig(label_smoothing=SMOOTHING).build()
    trainer = Trainer(
        RunDirectory.create(Path(tempfile.mkdtemp()) / "run", {}),
        training.parallel.build(model, objective, ALONE),
        Again(),
        OptimizerConfig(lr=LR).build(model),
        Constant(warmup=0),
        training,
        lambda step: EvaluateEvent(step, {}),
    )
    trainer.total = training.steps or 0
    endless = trainer.stream.batches(Position())

    def run() -> Mapping[str, float]:
        started = time.perf_counter()
        for _ in batches:
            trainer._train_step(endless)
        return {"seconds": time.perf_counter() - started}

    return run


def hugging_face(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    """`Seq2SeqTrainer.train` over the same batches; its set-up time is not counted."""
    import tempfile

    import torch
    from torch.utils.data import DataLoader
    from transformers import (
        MarianConfig,
        MarianMTModel,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        TrainerCallback,
    )

    torch.manual_seed(0)
    tokenizer, batches = batches_for(options)
    size = SIZES[options["size"]]
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=size["d_model"],
        encoder_layers=size["layers"],
        decoder_layers=size["layers"],
        encoder_attention_heads=size["heads"],
        decoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["d_ff"],
        decoder_ffn_dim=size["d_ff"],
        activation_function="relu",
        dropout=options["dropout"],
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        share_encoder_decoder_embeddings=True,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_id,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        decoder_start_token_id=tokenizer.bos_id,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config)
    inputs = [
        {
            "input_ids": batch.source,
            "attention_mask": batch.source_valid.long(),
            "decoder_input_ids": batch.target_in,
            "labels": batch.target_out.masked_fill(~batch.target_valid, -100),
        }
        for batch in batches
    ]

    class SameBatches(Seq2SeqTrainer):
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(inputs, batch_size=None, shuffle=False)

    class Clock(TrainerCallback):
        started = ended = 0.0

        def on_train_begin(self, *unused: Any, **also: Any) -> None:
            self.started = time.perf_counter()

        def on_train_end(self, *unused: Any, **also: Any) -> None:
            self.ended = time.perf_counter()

    arguments = Seq2SeqTrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=len(inputs),
        learning_rate=LR,
        lr_scheduler_type="constant",
        adam_beta2=0.98,
        adam_epsilon=1e-9,
        weight_decay=0.01,
        max_grad_norm=CLIP,
        label_smoothing_factor=SMOOTHING,
        optim="adamw_torch_fused",
        bf16=options["precision"] == "bfloat16",
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = SameBatches(model=model, args=arguments, train_dataset=inputs, callbacks=[clock])

    def run() -> Mapping[str, float]:
        trainer.train()
        return {"seconds": clock.ended - clock.started}

    return run


def matrix_products(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    """This machine's rate: float32 products of 2048×2048 matrices."""
    import torch

    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    out = torch.empty(2048, 2048)

    def run() -> Mapping[str, float]:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            torch.mm(left, right, out=out)
            times.append(time.perf_counter() - started)
        seconds = sorted(times)[len(times) // 2]
        return {"seconds": seconds, "rate": 2 * 2048**3 / seconds}

    return run


def _import_peluche() -> None:
    import torch  # noqa: F401

    import peluche.recipes.train  # noqa: F401


def _import_hugging_face() -> None:
    _import_peluche()
    import accelerate  # noqa: F401
    from transformers import MarianMTModel, Seq2SeqTrainer  # noqa: F401


peluche.preload = _import_peluche  # type: ignore[attr-defined]
hugging_face.preload = _import_hugging_face  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", choices=["builtin", "multi30k"], default="builtin")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = vars(parser.parse_args())

    from peluche.models.costs import training_flops
    from peluche.nn.machine import describe_machine

    tokenizer, batches = batches_for(options)
    target_tokens = sum(batch.target_tokens for batch in batches)
    lengths = [
        (int(source), int(target))
        for batch in batches
        for source, target in zip(batch.source_valid.sum(1), batch.target_valid.sum(1), strict=True)
    ]
    flops = training_flops(config_for(options), len(tokenizer), lengths)
    contestants = {"peluche": peluche, "Seq2SeqTrainer": hugging_face, "products": matrix_products}
    found = compete(contestants, options, options["rounds"])
    rate = found["products"].median("rate")
    rows = [["", "target tokens/s", "min", "max", "memory MiB", "GFLOP/s", "of product rate"]]
    for name in ("peluche", "Seq2SeqTrainer"):
        seconds = found[name].figures["seconds"]
        middle = found[name].median("seconds")
        rows.append(
            [
                name,
                f"{target_tokens / middle:,.0f}",
                f"{target_tokens / max(seconds):,.0f}",
                f"{target_tokens / min(seconds):,.0f}",
                f"{found[name].memory:,.0f}",
                f"{flops / middle / 1e9:.0f}",
                f"{flops / middle / rate:.0%}",
            ]
        )
    ours, theirs = found["peluche"], found["Seq2SeqTrainer"]
    rows.append(
        [
            "ratio",
            f"{theirs.median('seconds') / ours.median('seconds'):.2f}",
            "",
            "",
            f"{ours.memory / theirs.memory:.2f}",
            "",
            "",
        ]
    )
    print(describe_machine())
    print(
        f"{options['size']}: {SIZES[options['size']]}, vocabulary {len(tokenizer)}, "
        f"{len(batches)} batches of {options['tokens']} tokens from {options['data']}, "
        f"{options['precision']}, product rate {rate / 1e9:.0f} GFLOP/s (float32)"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
