"""Word vectors against gensim: words per second and quality, on the same text and vocabulary.

python benchmarks/word_vectors.py --architecture skipgram

Each round trains both with another seed and the same dimensions, window, negatives, subsampling,
epochs, rates and vocabulary, in turn, in processes of their own. gensim is given the text as a list
of lists of words in memory, and as a file, which it has a faster path for.
"""

from __future__ import annotations

import peluche  # noqa: F401, before torch, whose threads it sets up

# isort: split
import argparse
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from side_by_side import compete, table

SIMILARITY = ("word-similarity/EN-WS-353-ALL.txt", "word-similarity/EN-MEN-TR-3k.txt")
ANALOGIES = "word-similarity/questions-words.txt"
# The learning rates of the word2vec program, and what gensim lowers them to.
RATES, LOWEST_RATE = {"skipgram": 0.025, "cbow": 0.05}, 1e-4
QUALITY = {"WordSim-353": SIMILARITY[0], "MEN": SIMILARITY[1], "analogies": ANALOGIES}


def write_corpus(path: Path, limit: int | None) -> None:
    """IMDB's training reviews, one a line, in lower-cased words with spaces between."""
    from peluche.data.texts import TextFile
    from peluche.text.vocabulary import VocabularyConfig

    cutter = VocabularyConfig(remove="<[^>]*>")
    source = TextFile(kind="jsonl", path=Path("imdb/train.jsonl"), limit=limit)
    with path.open("w", encoding="utf-8") as stream:
        for example in source.read():
            stream.write(" ".join(cutter.words(example.text)) + "\n")


def quality(words: list[str], vectors: Any) -> dict[str, float]:
    """Scores of the three tests, for either's vectors."""
    import torch

    from peluche.tasks.word_vectors import WordVectors
    from peluche.text.vocabulary import Vocabulary

    task = WordVectors(Vocabulary(words, [0] * len(words)), torch.as_tensor(vectors))
    return {
        name: task.evaluate(path).scores(bootstrap=0)[0].score for name, path in QUALITY.items()
    }


def peluche_(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    """Trains through the recipe, loop and checkpoints that `peluche train` uses."""
    from peluche.recipes.recipe import parse_recipe
    from peluche.recipes.train import train_recipe
    from peluche.tasks.load import load_vectors

    rounds = iter(range(1, 1000))

    def train(seed: int, **changes: Any) -> dict[str, float]:
        recipe = parse_recipe(
            {
                "name": "benchmark",
                "task": "word_vectors",
                "data": {"train": {"path": options["corpus"]}},
                "model": {"kind": "word2vec", "architecture": options["architecture"]},
                "optimizer": {"kind": "sgd", "lr": options["rate"]},
                "schedule": {
                    "kind": "wsd",
                    "warmup": 0,
                    "decay": 1.0,
                    "floor": LOWEST_RATE / options["rate"],
                },
                "training": {
                    "epochs": options["epochs"],
                    "seed": seed,
                    "threads": options["workers"],
                    "evaluate_every": 10**6,
                    "checkpoint_every": 10**6,
                },
                **changes,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            started, used = time.perf_counter(), time.process_time()
            run, _ = train_recipe(recipe, path)
            whole, used = time.perf_counter() - started, time.process_time() - used
            events = list(run.events())
            vectors = load_vectors(path)
        seconds = next(e["seconds"] for e in events if e.get("name") == "train")
        words = sum(event["tokens"] for event in events if event["event"] == "step")
        found = {"seconds": seconds, "whole": whole, "words": words / seconds, "cpu": used}
        found["vocabulary"] = len(vectors.vocabulary)
        return found | quality(list(vectors.vocabulary), vectors.vectors)

    train(0, data={"train": {"path": options["corpus"], "limit": 200}})  # compiles the kernel
    return lambda: train(next(rounds))


def gensim_(options: Mapping[str, Any], from_file: bool) -> Callable[[], Mapping[str, float]]:
    from gensim.models import Word2Vec

    corpus, rounds = options["corpus"], iter(range(1, 1000))
    text = Path(corpus).read_text(encoding="utf-8")
    sentences = None if from_file else [line.split() for line in text.splitlines()]
    source = {"corpus_file": corpus} if from_file else {"corpus_iterable": sentences}

    def train() -> dict[str, float]:
        model = Word2Vec(
            vector_size=100,
            window=5,
            negative=5,
            min_count=5,
            sample=1e-3,
            alpha=options["rate"],
            min_alpha=LOWEST_RATE,
            sg=int(options["architecture"] == "skipgram"),
            workers=options["workers"],
            seed=next(rounds),
        )
        began, used = time.perf_counter(), time.process_time()
        model.build_vocab(**source)
        started = time.perf_counter()
        model.train(
            **source,
            total_examples=model.corpus_count,
            total_words=model.corpus_total_words,
            epochs=options["epochs"],
        )
        ended, used = time.perf_counter(), time.process_time() - used
        words = list(model.wv.key_to_index)
        read = sum(model.wv.get_vecattr(word, "count") for word in words) * options["epochs"]
        seconds = ended - started
        whole = ended - began
        found = {"seconds": seconds, "whole": whole, "words": read / seconds, "cpu": used}
        return {**found, "vocabulary": len(words), **quality(words, model.wv.vectors)}

    return train


def gensim_list(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return gensim_(options, from_file=False)


def gensim_file(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return gensim_(options, from_file=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--architecture", choices=["skipgram", "cbow"], default="skipgram")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="each with another seed")
    parser.add_argument("--limit", type=int, help="reviews; all of them if not given")
    parser.add_argument(
        "--rate", type=float, help="word2vec's own for the architecture if not given"
    )
    options = parser.parse_args()
    options.rate = options.rate or RATES[options.architecture]
    contestants = {
        "peluche": peluche_,
        "gensim, list": gensim_list,
        "gensim, file": gensim_file,
    }
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "imdb.txt"
        write_corpus(corpus, options.limit)
        results = compete(
            contestants, {**vars(options), "corpus": str(corpus)}, options.rounds, warm=0
        )
    from peluche.nn.machine import describe_machine

    print(re.sub(r", \d+ of", ",", describe_machine()))
    print(
        f"{options.architecture}, rate {options.rate}, {options.epochs} epochs, "
        f"{options.workers} workers"
    )
    header = ["", "words/s", "range", "s with vocabulary", "CPU s", *QUALITY, "vocabulary"]
    rows = [header]
    for name, result in results.items():
        speed = result.figures["words"]
        scores = [" ".join(f"{s:.2f}" for s in result.figures[test]) for test in QUALITY]
        rows.append(
            [
                name,
                f"{result.median('words'):,.0f}",
                f"{min(speed):,.0f}–{max(speed):,.0f}",
                f"{result.median('whole'):.1f}",
                f"{result.median('cpu'):.1f}",
                *scores,
                f"{result.median('vocabulary'):,.0f}",
            ]
        )
    print(table(rows))
    mine = results["peluche"]
    for name, result in list(results.items())[1:]:
        ratio = mine.median("words") / result.median("words")
        print(f"against {name}: {ratio:.2f} times the words/s; mean scores differ by")
        for test in QUALITY:
            print(f"  {test}: {mean(mine.figures[test]) - mean(result.figures[test]):+.2f}")


if __name__ == "__main__":
    main()
