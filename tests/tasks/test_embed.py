"""Embeddings of texts, against the formula of sentence-transformers."""

import json
import subprocess

import pytest
import torch
import transformers

import peluche
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.model_catalogue import find_pretrained
from peluche.tasks.load import load_embedder

WORDS = ["a", "cute", "teddy", "bear", "is", "reading", "un", "ours", "lit", ".", "##s", "read"]
TEXTS = ["A cute teddy bear is reading.", "Un ours lit.", "bears", "", "bear " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    transformers.BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=36,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(path)
    (path / "1_Pooling").mkdir()
    pooling(path, pooling_mode_mean_tokens=True)
    (path / "modules.json").write_text('[{"type": "sentence_transformers.models.Normalize"}]')
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return path


def pooling(path, **modes):
    (path / "1_Pooling" / "config.json").write_text(json.dumps(modes))


@torch.no_grad()
def reference(folder):
    cutter = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    read = cutter(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    hidden, mask = model(**read).last_hidden_state, read["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def test_embeddings_are_theirs(folder):
    embedder = peluche.load(folder)
    found, expected = embedder.embed(TEXTS), reference(folder)
    assert float((found * expected).sum(-1).min()) > 1 - 1e-5
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_changed_weights_show_after_refresh(folder):
    embedder = peluche.load(folder)
    before = embedder.embed(TEXTS)
    with torch.no_grad():
        for parameter in embedder.model.parameters():
            parameter.mul_(-0.5)
    embedder.refresh()
    after, embedder.reader = embedder.embed(TEXTS), None
    assert not torch.allclose(after, before, atol=0.1)
    torch.testing.assert_close(after, embedder.embed(TEXTS), atol=1e-5, rtol=1e-5)


def test_batches_do_not_matter(folder):
    together = load_embedder(folder).embed(TEXTS)
    alone = load_embedder(folder, batch_tokens=1).embed(TEXTS)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    assert load_embedder(folder).embed([]).shape == (0, 24)


def test_the_first_token_may_stand_for_the_text(folder):
    embedder = load_embedder(folder, pooling="first", normalize=False)
    ids = torch.tensor([embedder.tokenizer.encode(TEXTS[0], bos=True, eos=True)])
    with torch.no_grad():
        expected = embedder.model.encoder.model.hidden(ids)[:, 0]
    torch.testing.assert_close(embedder.embed(TEXTS[:1]), expected, atol=1e-5, rtol=1e-5)


def test_the_command_line(folder, command):
    done = command("embed", folder, "--json", input="\n".join(TEXTS[:2]))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == TEXTS[:2]
    torch.testing.assert_close(
        torch.tensor([row["embedding"] for row in rows]), reference(folder)[:2], atol=1e-5, rtol=0
    )


def test_what_is_not_known_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(folder), str(copy)], check=True)
    pooling(copy, pooling_mode_weightedmean_tokens=True)
    with pytest.raises(ConfigError, match="pooling_mode_weightedmean_tokens"):
        load_embedder(copy)
    pooling(copy, pooling_mode_mean_tokens=True)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        load_embedder(copy)
    with pytest.raises(ConfigError, match="peluche embed"):
        peluche.tasks.load.load_translator(folder)


MINILM = "all-minilm-l6-v2"


@pytest.mark.slow
@pytest.mark.skipif(find_pretrained(MINILM) is None, reason=f"needs: peluche models pull {MINILM}")
def test_minilm_is_itself():
    found = find_pretrained(MINILM)
    cutter = transformers.AutoTokenizer.from_pretrained(found)
    model = transformers.AutoModel.from_pretrained(found, attn_implementation="eager").eval()
    texts = ["A cute teddy bear is reading.", "The bear reads.", "Stocks fell on Monday. " * 80]
    read = cutter(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden, mask = model(**read).last_hidden_state, read["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    embedded = peluche.load(MINILM).embed(texts)
    assert float((embedded * expected).sum(-1).min()) > 1 - 1e-5
    assert float(embedded[0] @ embedded[1]) > 0.5 > float(embedded[0] @ embedded[2])
