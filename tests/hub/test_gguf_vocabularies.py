"""Vocabularies of pieces and scores in GGUF files, against llama.cpp and SentencePiece itself."""

import io

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from llama_cpp_judge import LlamaCpp

from gguf_models import write
from peluche.tasks.load import load_completer
from peluche.text.pretrained import from_gguf
from peluche.text.token_bytes import token_bytes

sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = [
    "A cute teddy bear is reading.", "Bears, 12 of them — it's 3 o'clock!", "Un ours mignon lit",
    "aaaa aaa aa a  ======== ==== == =   abababab abab ba\tx", "The reader reads; the bears read.",
]  # fmt: skip
USER = ["  ", "<note>", "\n\n", "\n\n\n"]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
texts = st.one_of(
    st.text(alphabet=" abearst=<>noue\n", max_size=40),
    st.text(max_size=20),
    st.lists(st.sampled_from([*"ab= \n", *TEXTS, *USER, "</s>", "<unk>", "▁"]), max_size=8).map(
        "".join
    ),
)


def learn(prefix):
    """SentencePiece's own tokenizer, and the metadata that llama.cpp keeps of it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=360,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    own = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    numbers = range(own.get_piece_size())
    types = [
        UNKNOWN if own.is_unknown(one) else CONTROL if own.is_control(one)
        else BYTE if own.is_byte(one) else NORMAL
        for one in numbers
    ]  # fmt: skip
    return own, {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [own.id_to_piece(one) for one in numbers],
        "tokenizer.ggml.scores": [own.get_score(one) for one in numbers],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_space_prefix": prefix,
    }


def with_user_defined(metadata):
    more = {
        "tokens": USER,
        "scores": [-1000.0] * len(USER),
        "token_type": [USER_DEFINED] * len(USER),
    }
    more = {f"tokenizer.ggml.{key}": value for key, value in more.items()}
    return metadata | {key: metadata[key] + value for key, value in more.items()}


@pytest.fixture(scope="module", params=[True, False], ids=["prefix", "no prefix"])
def judged(request, tmp_path_factory):
    own, metadata = learn(request.param)
    path = tmp_path_factory.mktemp("vocabulary") / "a.gguf"
    write(path, "llama", with_user_defined(metadata))
    ours = load_completer(path).tokenizer
    return (
        request.param,
        own,
        from_gguf(metadata, path),
        ours,
        LlamaCpp(path, len(ours), ours.id("a")),
    )


several = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@several
@given(text=texts)
@example("")
@example(TEXTS[3])
def test_tokens_are_those_of_sentencepiece(judged, text):
    prefix, own, ours, _, _ = judged
    # Its own normalizer drops them.
    text = text.replace("\0", "")
    tokens = ours.encode(text)
    assert tokens == own.encode(text)
    if "▁" not in text:
        assert ours.decode(tokens) == text
        spelt = token_bytes(ours)
        begun = " " * bool(text and prefix)
        assert b"".join(spelt[token] for token in tokens).decode() == begun + text


@several
@given(text=texts)
@example(TEXTS[3])
def test_tokens_are_those_of_llama_cpp(judged, text):
    *_, ours, theirs = judged
    assert ours.encode(text) == theirs.tokenize(text)
