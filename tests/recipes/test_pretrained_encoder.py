"""Classifiers and taggers that start from an encoder which was trained before."""

import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from peluche.data.classification import encode_texts
from peluche.data.sentences import Sentence, write_conllu
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.recipes.pretrained import open_encoder
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.tasks.load import (
    load_classifier,
    load_embedder,
    load_filler,
    load_parser,
    load_tagger,
)
from peluche.text.subwords import Subwords
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.events import Hook

WORDS = ["king", "cat", "bear", "a", "the", "has", "crown", "mouse", "book", "in", "castle", "barn"]
WORDS += ["forest", "good", "bad"]
NOUNS = WORDS[:3]
LINES = [
    f"the {who} has a {what} in the {where}"
    for who, what, where in (
        ("king", "crown", "castle"), ("cat", "mouse", "barn"), ("bear", "book", "forest"),
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A small masked language model, a BERT of transformers, and data to tune them on."""
    home = tmp_path_factory.mktemp("home")
    (home / "text.txt").write_text("\n".join([*LINES, "good bad"] * 20) + "\n", encoding="utf-8")
    rows = [f"a {noun} {label}\t{label}" for noun in NOUNS for label in ("good", "bad")]
    (home / "texts.tsv").write_text("\n".join(rows * 2) + "\n", encoding="utf-8")
    pairs = [f"king\t{one}\tfirst\n{one}\tking\tsecond" for one in WORDS[1:6]]
    (home / "pairs.tsv").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    tags = {"the": "D", "a": "D", "has": "V", "in": "P"}
    sentences = [
        Sentence(
            line.split(), "", [tags.get(word, "N") for word in line.split()],
            [2, 3, 0, 5, 3, 5, 8, 6], ["det", "subj", "root", "det", "obj", "mod", "det", "case"],
        )
        for line in LINES
    ]  # fmt: skip
    (home / "tags.conllu").write_text(write_conllu(sentences), encoding="utf-8")
    train_recipe(
        parse_recipe(
            {
                "name": "mlm",
                "task": "masked_language_modelling",
                "data": {
                    "train": {"path": str(home / "text.txt")},
                    "validation": {"path": str(home / "text.txt"), "limit": 4},
                },
                "tokenizer": {"kind": "wordpiece", "vocab_size": 60, "special": ["[MASK]"]},
                "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "max_length": 24},
                "batching": {"length": 16, "tokens": 128},
                "training": {"steps": 5, "threads": 1},
            }
        ),
        home / "mlm",
    )
    bert = home / "bert"
    bert.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s"]
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    transformers.BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary) + 3,  # rows without a token, as models have them
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(bert)
    save_xlm_roberta(home / "xlm-roberta")
    return home


def save_xlm_roberta(folder):
    """With its Unigram tokenizer; [PAD] is number 1, and positions count from 2."""
    marks, pieces = ("<s>", "<pad>", "</s>", "<unk>"), [f"▁{word}" for word in WORDS]
    scores = [(piece, -2.0) for piece in (*marks, *pieces, *"abcdefghi", "<mask>")]
    cutter = transformers.XLMRobertaTokenizer(vocab=scores)
    cutter.save_pretrained(folder)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(cutter) + 3,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=26,
        type_vocab_size=1,
    )
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder)


def recipe(home, task="classification", data="texts.tsv", model="mlm", **changes):
    kind = {"kind": "conllu"} if data.endswith("conllu") else {"kind": "tsv"}
    if data == "pairs.tsv":
        kind |= {"second": 1, "label": 2}
    source = {**kind, "path": str(home / data)}
    encoder = {"kind": "pretrained", "model": str(home / model), **changes.pop("encoder", {})}
    pooling = {"pooling": "first"} if task == "classification" else {}
    return parse_recipe(
        {
            "name": "tuned",
            "task": task,
            "data": {"train": source, "validation": source},
            "model": {"encoder": encoder, **pooling, **changes.pop("model_", {})},
            "batching": {"tokens": 128, "max_length": 24},
            "optimizer": {"lr": 2e-2},
            "schedule": {"kind": "constant", "warmup": 0},
            "training": {
                "steps": 40, "evaluate_every": 40, "checkpoint_every": 40, "threads": 1
            },
            **changes,
        }
    )  # fmt: skip


def encoder_weights(run):
    weights = run.load_weights()
    prefix = next(n for n in weights if n.endswith("model.encoder.embedding.weight"))
    prefix = prefix.removesuffix("encoder.embedding.weight")
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


@pytest.mark.parametrize("model", ["mlm", "bert", "xlm-roberta"])
def test_a_classifier_learns_and_needs_its_source_no_more(home, tmp_path, model):
    shutil.copytree(home / model, tmp_path / "source")
    config = recipe(home, model=tmp_path / "source")
    run, _ = train_recipe(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "source")
    classifier = load_classifier(run.path)
    assert classifier.evaluate().scores(bootstrap=0)[0].score == 100
    assert classifier.classify(["the bear bad"])[0].label == "bad"
    special = open_encoder(str(home / model)).tokenizer.special
    assert classifier.tokenizer.special == special
    resumed, _ = resume_run(run.path)  # nothing is left to do, and nothing is missed
    assert torch.equal(resumed.load_weights()["head.weight"], run.load_weights()["head.weight"])


def test_what_it_starts_from_is_what_was_trained(home, tmp_path):
    for model in ("mlm", "bert", "xlm-roberta"):
        config = recipe(home, model=model, training={"steps": 1}, optimizer={"lr": 1e-12})
        run, _ = train_recipe(config, tmp_path / model)
        source = open_encoder(str(home / model))
        for name, tensor in encoder_weights(run).items():
            torch.testing.assert_close(tensor, source.weights[name], atol=1e-8, rtol=0)
        encoder = load_classifier(run.path).model.encoder
        ids = torch.tensor([source.tokenizer.encode("the king", bos=True, eos=True)])
        expected = source.config.build(len(source.weights["encoder.embedding.weight"]))
        expected.load_state_dict(source.weights)
        with torch.no_grad():
            torch.testing.assert_close(
                encoder(ids, torch.ones_like(ids, dtype=torch.bool)),
                expected.eval().hidden(ids),
                atol=1e-6, rtol=0,
            )  # fmt: skip


@torch.no_grad()
def test_an_xlm_roberta_embeds_as_in_transformers(home):
    cutter = transformers.AutoTokenizer.from_pretrained(home / "xlm-roberta")
    theirs = transformers.AutoModel.from_pretrained(home / "xlm-roberta").eval()
    texts = ["the king has a crown", "bad", "a big face"]
    for text, vector in zip(texts, load_embedder(home / "xlm-roberta").embed(texts), strict=True):
        hidden = theirs(**cutter(text, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(vector, hidden.mean(0), atol=1e-5, rtol=1e-5)


def test_pairs_are_two_segments(home, tmp_path):
    run, _ = train_recipe(recipe(home, data="pairs.tsv", model="bert"), tmp_path / "run")
    classifier = load_classifier(run.path)
    assert classifier.evaluate().scores(bootstrap=0)[0].score == 100
    table = classifier.model.encoder.model.segments.weight
    before = classifier.logits(["king"], ["cat"])
    table.data[1] += torch.arange(16)  # the second text is read with this row
    assert not torch.allclose(before, classifier.logits(["king"], ["cat"]))


def test_texts_stand_between_their_marks():
    tokenizer = TokenizerConfig(kind="word").build(["a b c d"])
    a, b, c, d = tokenizer.encode("a b c d")
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    assert encode_texts(["a b c d"], [None], tokenizer, 4, begins=True) == (
        [[bos, a, b, eos]], None, 1,
    )  # fmt: skip
    assert encode_texts(["a b", "a b c d"], ["c", "c d"], tokenizer, 6, begins=True) == (
        [[bos, a, b, eos, c, eos], [bos, a, eos, c, d, eos]], [4, 3], 1,
    )  # fmt: skip


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_encoder_may_stay_or_learn_slowly(home, tmp_path, rate):
    change = {"optimizer": {"kind": "sgd", "lr": 0.5}, "training": {"steps": 2, "clip": None}}
    full, _ = train_recipe(recipe(home, **change, encoder={"dropout": 0.0}), tmp_path / "full")
    run, _ = train_recipe(
        recipe(home, **change, encoder={"rate": rate, "dropout": 0.0}), tmp_path / "run"
    )
    start = open_encoder(str(home / "mlm")).weights
    moved = [
        sum(float((w - start[n]).abs().sum()) for n, w in encoder_weights(one).items())
        for one in (full, run)
    ]
    assert moved[0] > 0
    assert moved[1] == pytest.approx(rate * moved[0], rel=0.5)
    assert not torch.equal(run.load_weights()["head.weight"], full.load_weights()["head.weight"])


def test_a_killed_run_resumes_bit_for_bit_without_its_source(home, tmp_path):
    class Killed(Exception):
        """As a power cut would."""

    class Kill(Hook):
        def step(self, event):
            if event.step == 13:
                raise Killed

    shutil.copytree(home / "mlm", tmp_path / "source")
    change = {"training": {"steps": 20, "checkpoint_every": 5, "threads": 1}}
    config = recipe(home, model=tmp_path / "source", **change)
    whole, _ = train_recipe(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_recipe(config, tmp_path / "killed", hooks=[Kill()])
    shutil.rmtree(tmp_path / "source")
    resumed, _ = resume_run(tmp_path / "killed")
    for name, tensor in whole.load_weights().items():
        assert torch.equal(tensor, resumed.load_weights()[name]), name


@pytest.mark.parametrize(("task", "model"), [("tagging", "bert"), ("dependency_parsing", "mlm")])
def test_words_are_tagged_and_parsed_by_their_first_pieces(home, tmp_path, task, model):
    run, _ = train_recipe(
        recipe(home, task=task, data="tags.conllu", model=model, optimizer={"lr": 1e-2}),
        tmp_path / "run",
    )
    load = load_tagger if task == "tagging" else load_parser
    found = load(run.path).annotate([LINES[0].split(), ["kings"]])
    assert list(found[0].tags) == ["D", "N", "V", "D", "N", "P", "D", "N"]
    assert len(found[1].tags) == 1
    with pytest.raises(DataError, match="the encoder reads 22 at most"):
        load(run.path).annotate([["cat"] * 23])


def test_the_spelling_stands_beside_the_pieces(home, tmp_path):
    changes = {"training": {"steps": 1, "threads": 1}, "model": "bert", "data": "tags.conllu"}
    widths = []
    for characters in (None, {"embedding": 4, "filters": 3, "widths": [2, 3]}):
        config = recipe(home, "tagging", model_={"characters": characters}, **changes)
        run, _ = train_recipe(config, tmp_path / f"{len(widths)}")
        widths.append(run.load_weights()["head.weight"].shape[1])
    assert widths == [16, 16 + 6]


def test_pieces_of_words():
    tokenizer = TokenizerConfig(kind="character").build(["abc"])
    a, b, c = tokenizer.encode("abc")
    (found,) = Subwords(tokenizer).encode([["ab", "", "cab"]])
    bos, eos, unknown = tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id
    assert found.ids == [bos, a, b, unknown, c, a, b, eos]
    assert found.firsts == [1, 3, 4]
    (short,) = Subwords(tokenizer, longest=5).encode([["ab", "", "cab"]])
    assert short == ([bos, a, unknown, c, eos], [1, 2, 3])


def test_one_tuned_encoder_is_the_next_one_s_beginning(home, tmp_path):
    first, _ = train_recipe(recipe(home), tmp_path / "first")
    second, _ = train_recipe(
        recipe(home, "tagging", "tags.conllu", tmp_path / "first", training={"steps": 1}),
        tmp_path / "second",
    )
    assert encoder_weights(second).keys() == encoder_weights(first).keys()


def test_what_cannot_be_started_from_is_refused(home, tmp_path):
    shutil.copytree(home / "bert", tmp_path / "bert")
    cut = load_file(tmp_path / "bert" / "model.safetensors")
    cut["embeddings.word_embeddings.weight"] = cut["embeddings.word_embeddings.weight"][:9]
    save_file(cut, tmp_path / "bert" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="the model only 9"):
        train_recipe(recipe(home, model=tmp_path / "bert"), tmp_path / "few")
    bag = recipe(home).model_dump(mode="json")
    bag["model"] = {"encoder": {"kind": "bag", "embedding": 4}, "pooling": "mean"}
    train_recipe(parse_recipe({**bag, "training": {"steps": 1}}), tmp_path / "bag")
    with pytest.raises(ConfigError, match="no encoder to start from"):
        train_recipe(recipe(home, model=tmp_path / "bag"), tmp_path / "a")
    with pytest.raises(CheckpointError, match="there is no model"):
        train_recipe(recipe(home, model="absent"), tmp_path / "b")
    with pytest.raises(ConfigError, match="reads 24 tokens") as caught:
        train_recipe(recipe(home, batching={"tokens": 128}), tmp_path / "c")
    assert "batching.max_length=24" in str(caught.value)
    assert not (tmp_path / "c").exists()
    run, _ = train_recipe(recipe(home, training={"steps": 1}), tmp_path / "d")
    with pytest.raises(ConfigError, match="peluche classify"):
        load_filler(run.path)
