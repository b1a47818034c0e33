"""One string in the place of a list of texts is refused, before anything is read or computed."""

import pytest

from peluche.errors import ConfigError
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.classify import TextClassifier
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.fill_spans import SpanFiller
from peluche.tasks.generate import TextGenerator
from peluche.tasks.tag import SentenceTagger
from peluche.tasks.translate import Translator

TEXT = "A bear reads."
CALLS = [
    (QuestionAnswerer, "answer", (TEXT, ["where"])),
    (QuestionAnswerer, "answer", (["where"], TEXT)),
    (QuestionAnswerer, "stream", (TEXT,)),
    (TextClassifier, "parts", (TEXT,)),
    (TextClassifier, "parts", ([TEXT], TEXT)),
    (TextClassifier, "classify", (TEXT,)),
    (TextClassifier, "stream", (TEXT,)),
    (Completer, "complete", (TEXT,)),
    (Completer, "with_gap", (TEXT, "")),
    (TextGenerator, "generate", (TEXT,)),
    (Embedder, "embed", (TEXT,)),
    (Filler, "fill", (TEXT,)),
    (SpanFiller, "fill", (TEXT,)),
    (SentenceTagger, "annotate", (TEXT,)),
    (SentenceTagger, "annotate", ([TEXT],)),
    (SentenceTagger, "stream", (TEXT,)),
    (Translator, "translate_with_scores", (TEXT,)),
    (Translator, "stream", (TEXT,)),
]


@pytest.mark.parametrize(("task", "method", "arguments"), CALLS)
def test_a_string_is_no_list_of_texts(task, method, arguments):
    bare = task.__new__(task)  # without a model: nothing else may be asked for first
    with pytest.raises(ConfigError, match=r"'A bear reads\.'") as caught:
        list(getattr(bare, method)(*arguments))
    assert "put it in a list" in str(caught.value)
