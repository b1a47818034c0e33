"""What a tagger or parser knows of words and labels, in its run directory."""

from __future__ import annotations

from peluche.data.annotation import Coding
from peluche.hub.pretrained import ModelSource
from peluche.hub.run import RunDirectory
from peluche.models.pretrained_encoder import PretrainedEncoderConfig
from peluche.tasks.weights import model_values
from peluche.text.labels import Labels
from peluche.text.lexicon import Lexicon
from peluche.text.subwords import Subwords

CODING = ("tags", "relations", "constituents")


def save_coding(run: RunDirectory, coding: Coding) -> None:
    """Keep the words and labels that a tagger or parser knows in its run directory.

    With the tokenizer of the pretrained encoder that it reads with, if it does.
    """
    if coding.subwords is not None:
        run.save_tokenizer(coding.subwords.tokenizer)
    for kind in CODING:
        labels: Labels | None = getattr(coding, kind)
        if labels is not None:
            run.save_part(f"{kind}.json", labels.save)
    run.save_part("lexicon.json", coding.lexicon.save)


def load_coding(run: ModelSource) -> Coding:
    """What `save_coding` kept.

    Raises:
        CheckpointError: something of it is missing or damaged.
    """
    labels = {
        kind: Labels.load(run.part(f"{kind}.json")) for kind in CODING if run.has(f"{kind}.json")
    }
    encoder = model_values(run).get("encoder") or {}
    subwords = None
    if encoder.get("kind") == "pretrained":
        longest = PretrainedEncoderConfig.parse(encoder, where=str(run.path)).longest
        subwords = Subwords(run.tokenizer(), longest)
    return Coding(Lexicon.load(run.part("lexicon.json")), **labels, subwords=subwords)
