"""Word vectors of a text larger than memory should hold: peak memory and time, by phase.

python benchmarks/large_text.py --gigabytes 1

The text is drawn word by word, with frequencies as in English: they fall with the rank by a power
of 1.01, and from rank 6,000 on by one of 1.92 (Ferrer i Cancho & Solé 2001). The vocabulary grows
with the text's length as a real one's does; in a gigabyte some 170,000 words occur five times.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FORMS, LINE, LINES = 2_000_000, 20, 50_000
KERNEL, FREQUENT, RARE = 6_000, 1.01, 1.92
CONSONANTS, VOWELS = "bcdfghjklmnprstvwxyz", "aeiou"
RECIPE = """\
name: large
task: word_vectors
data:
  train: {{path: {text}}}
vocabulary: {{min_count: 5{phrases}}}
training: {{epochs: 1, threads: {threads}, checkpoint_every: 1000000, evaluate_every: 1000000}}
"""


def write_text(path: Path, size: int) -> None:
    """Lines of 20 words, until there are `size` bytes."""
    forms = np.array([_spelled(number) for number in range(FORMS)], dtype=object)
    ranks = np.arange(1, FORMS + 1)
    falls = np.maximum(1, ranks / KERNEL) ** (FREQUENT - RARE)
    cumulative = np.cumsum(falls / ranks**FREQUENT)
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as stream:
        while stream.tell() < size:
            drawn = random.random((LINES, LINE)) * cumulative[-1]
            words = forms[np.searchsorted(cumulative, drawn)]
            stream.write("\n".join(map(" ".join, words)) + "\n")


def _spelled(number: int) -> str:
    """A word of syllables; frequent ones are short."""
    word = ""
    while number or not word:
        number, syllable = divmod(number, len(CONSONANTS) * len(VOWELS))
        consonant, vowel = divmod(syllable, len(VOWELS))
        word += CONSONANTS[consonant] + VOWELS[vowel]
    return word


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--phrases", action="store_true", help="find phrases too: one pass more")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text, recipe, run = (Path(folder) / name for name in ("text.txt", "large.yaml", "run"))
        write_text(text, int(options.gigabytes * 1e9))
        phrases = ", phrases: {}" if options.phrases else ""
        recipe.write_text(
            RECIPE.format(text=text, phrases=phrases, threads=options.threads), encoding="utf-8"
        )
        command = [sys.executable, "-m", "peluche", "train", str(recipe), "--run", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        events = map(json.loads, (run / "log.jsonl").read_text("utf-8").splitlines())
        for event in events:
            if "name" in event and "seconds" in event:
                print(f"{event['name']}: {event['seconds']:.0f} s")
            if event.get("event") == "epoch":
                print(f"loss {event['loss']:.4f}")
        print(f"text: {text.stat().st_size / 1e6:,.0f} MB; peak memory: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
