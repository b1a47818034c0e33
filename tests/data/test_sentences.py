"""CoNLL columns, CoNLL-U and bracketed trees, and their bad input."""

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.data.brackets import (
    BracketedTrees,
    Tree,
    brackets_of,
    clean_tree,
    parse_trees,
    sentence_of,
    tree_of,
)
from peluche.data.sentences import ConllSentences, ConlluSentences, check_tree, write_conllu
from peluche.errors import DataError

CONLLU = """# text = The bear's book
1-2\tThe bear\t_\t_\t_\t_\t_\t_\t_\t_
1\tThe\tthe\tDET\tDT\t_\t2\tdet\t_\t_
2\tbear\tbear\tNOUN\tNN\t_\t4\tnmod:poss\t_\t_
3\t's\t's\tPART\tPOS\t_\t2\tcase\t_\t_
3.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
4\tbook\tbook\tNOUN\tNN\t_\t0\troot\t_\t_

"""
PENN = """
( (S
    (NP-SBJ-1 (DT The) (NN bear))
    (VP (VBZ reads)
      (NP (-NONE- *T*-1)))
    (. .)))
(TOP (NP (-LRB- -LRB-) (NN book)))
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_conllu(tmp_path):
    path = write(tmp_path, "t.conllu", CONLLU)
    (sentence,) = ConlluSentences(path=path).read()
    assert sentence.tokens == ["The", "bear", "'s", "book"]
    assert sentence.tags == ["DET", "NOUN", "PART", "NOUN"]
    assert sentence.heads == [2, 4, 2, 0]
    assert sentence.relations == ["det", "nmod:poss", "case", "root"]
    assert sentence.where == "t.conllu:3"
    (sentence,) = ConlluSentences(path=path, tag="xpos", trees=False).read()
    assert (sentence.tags[1], list(sentence.heads)) == ("NN", [])


def test_conllu_is_written_as_it_is_read(tmp_path):
    first = list(ConlluSentences(path=write(tmp_path, "t.conllu", CONLLU)).read())
    again = list(ConlluSentences(path=write(tmp_path, "again.conllu", write_conllu(first))).read())
    assert [sentence._replace(where="") for sentence in again] == [
        sentence._replace(where="") for sentence in first
    ]


def test_conll_columns(tmp_path):
    text = "-DOCSTART- -X- O\n\nThe DT O\nbear NN B-toy\n\n\nAda NNP B-person"
    found = list(ConllSentences(path=write(tmp_path, "t.conll", text)).read())
    assert [(s.tokens, s.tags) for s in found] == [
        (["The", "bear"], ["O", "B-toy"]),
        (["Ada"], ["B-person"]),
    ]
    found = list(ConllSentences(path=tmp_path / "t.conll", tag=1).read())
    assert found[0].tags == ["DT", "NN"]


def test_tokens_may_hold_spaces_between_tabs(tmp_path):
    path = write(tmp_path, "t.conll", "teddy bear\tB-toy\nreads\tO\n")
    (sentence,) = ConllSentences(path=path, separator="\t").read()
    assert sentence.tokens == ["teddy bear", "reads"]


def test_entities_in_another_scheme(tmp_path):
    path = write(tmp_path, "t.conll", "Ada I-person\nB. I-person\nin O\nBonn I-place\n")
    (sentence,) = ConllSentences(path=path, scheme="bioes").read()
    assert sentence.tags == ["B-person", "E-person", "O", "S-place"]
    path = write(tmp_path, "t.conll", "The O\n\nbear NOUN\n")
    with pytest.raises(DataError, match="'NOUN' is not a tag of an entity") as caught:
        list(ConllSentences(path=path, scheme="bio").read())
    assert "t.conll:3" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("The O\nbear\n", "t.conll:2", "1 columns; the sentence began with 2"),
        ("The O\nbear NN O\n", "t.conll:2", "3 columns; the sentence began with 2"),
        ("", None, "the corpus is empty"),
    ],
)
def test_ragged_conll(tmp_path, text, place, message):
    with pytest.raises(DataError, match=message) as caught:
        list(ConllSentences(path=write(tmp_path, "t.conll", text)).read())
    if place:
        assert place in str(caught.value)


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no column 5"):
        list(ConllSentences(path=write(tmp_path, "t.conll", "a O\n"), tag=5).read())


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([0, 0], "2 roots"),
        ([2, 3, 1], "0 roots"),
        ([0, 3, 2], "tokens \\[2, 3\\] lead round in a circle"),
        ([0, 5], "token 2 has head 5"),
        ([0, 2], "token 2 has head 2"),
    ],
)
def test_what_is_not_a_tree(tmp_path, heads, message):
    with pytest.raises(DataError, match=message):
        check_tree(heads, "t.conllu:1")
    rows = [f"{n}\tx\t_\tX\tX\t_\t{head}\tdep\t_\t_" for n, head in enumerate(heads, 1)]
    path = write(tmp_path, "t.conllu", "\n".join(rows))
    with pytest.raises(DataError, match=message) as caught:
        list(ConlluSentences(path=path).read())
    assert "t.conllu:1" in str(caught.value)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=0, max_size=30))
def test_every_tree_is_accepted(draws):
    """Each token hangs on one before it, in some order: always a tree."""
    heads = [0] + [1 + int(draw * place) for place, draw in enumerate(draws, 1)]
    check_tree(heads, "here")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tx\tX\n", "3 columns instead of 10"),
        ("1\tx\t_\tX\tX\t_\t_\tdep\t_\t_\n", "the head '_' of 'x' is not a number"),
    ],
)
def test_bad_conllu(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        list(ConlluSentences(path=write(tmp_path, "t.conllu", line)).read())


def test_penn_trees(tmp_path):
    path = write(tmp_path, "t.mrg", PENN)
    first, second = BracketedTrees(path=path).read()
    assert str(tree(first)) == "(S (NP (DT The) (NN bear)) (VP (VBZ reads)) (. .))"
    assert str(tree(second)) == "(NP (-LRB- -LRB-) (NN book))"
    assert first.where == "t.mrg:2"
    assert first.texts == ("The bear reads .",)
    (whole, _) = BracketedTrees(path=path, clean=False).read()
    assert "NP-SBJ-1" in str(tree(whole))
    assert "-NONE-" in str(tree(whole))


def tree(sentence):
    return tree_of(sentence.tokens, sentence.tags, sentence.spans)


@pytest.mark.parametrize(
    "text",
    [
        "(S (NP (DT The) (NN bear)) (VP (VBZ reads)) (. .))",
        "(S (VP (VB Read)))",
        "(UH Oh)",
        "(FRAG (NP (NP (NN bear)) (, ,) (NP (NN toy))) (. .))",
    ],
)
def test_a_tree_becomes_spans_and_a_tree_again(text):
    ((parsed, _),) = parse_trees(iter([text]), "t")
    assert str(tree(sentence_of(parsed))) == text


def test_chains_of_constituents_are_one_span():
    ((parsed, _),) = parse_trees(iter(["(S (VP (VB Read) (NP (NNS books))))"]), "t")
    sentence = sentence_of(parsed)
    assert sentence.spans == [(0, 2, "S+VP"), (1, 2, "NP")]
    assert sentence.labels == ["S", "VP", "NP"]


def test_punctuation_and_tags_are_no_brackets():
    text = "(S (`` ``) (NP (DT A) (NN bear)) (, ,) (VP (VBZ reads)) (PRN (: --)) (. .))"
    ((parsed, _),) = parse_trees(iter([text]), "t")
    assert brackets_of(parsed) == [(0, 3, "S"), (0, 2, "NP"), (2, 3, "VP")]


def test_spans_that_are_no_tree():
    with pytest.raises(DataError, match="overlaps another"):
        tree_of(list("abc"), list("XXX"), [(0, 2, "NP"), (1, 3, "VP")])
    with pytest.raises(DataError, match="at least one token"):
        tree_of([], [], [])
    assert str(tree_of(["a", "b"], ["X", "Y"], [])) == "(S (X a) (Y b))"


@pytest.mark.data
@pytest.mark.skipif("PELUCHE_DATA" not in os.environ, reason="PELUCHE_DATA names no folder")
def test_every_tree_of_the_penn_sample_survives():
    source = BracketedTrees(path=Path(os.environ["PELUCHE_DATA"]) / "ptb-sample" / "treebank.zip")
    for name, lines in source._files():
        for parsed, _ in parse_trees(lines, name):
            cleaned = clean_tree(parsed)
            if cleaned is not None:
                assert str(tree(sentence_of(cleaned))) == str(cleaned)


def test_penn_trees_of_folders_and_archives(tmp_path):
    write(tmp_path, "one.mrg", PENN)
    write(tmp_path, "README", "not a tree")
    assert len(list(BracketedTrees(path=tmp_path).read())) == 2
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(tmp_path / "one.mrg", "treebank/combined/one.mrg")
        archive.write(tmp_path / "README", "treebank/README")
    found = list(BracketedTrees(path=tmp_path / "t.zip").read())
    assert [sentence.where.rsplit(":", 1)[1] for sentence in found] == ["2", "7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(S (NN bear)", "1 brackets are not closed"),
        ("(S (NN bear)))", "closes that was never opened"),
        ("bear", "stands outside all brackets"),
        ("(S (NN))", "a constituent is empty"),
        ("(NP the (NN bear))", "holds a word and something else"),
    ],
)
def test_bad_brackets(text, message):
    with pytest.raises(DataError, match=message):
        list(parse_trees(iter([text]), "t.mrg"))


@st.composite
def trees(draw, depth=0):
    label = draw(st.sampled_from(["S", "NP", "VP"]))
    if depth == 3 or draw(st.booleans()):
        return Tree(label, (draw(st.sampled_from(["bear", "reads", ","])),))
    return Tree(label, tuple(draw(st.lists(trees(depth + 1), min_size=1, max_size=3))))


@given(trees())
def test_trees_are_written_as_they_are_read(tree):
    ((again, _),) = parse_trees(iter([str(tree)]), "t")
    assert again == tree


def test_damaged_archives_are_named(tmp_path):
    (tmp_path / "t.zip").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="archive is damaged"):
        list(BracketedTrees(path=tmp_path / "t.zip").read())
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("one.mrg", b"(NN caf\xe9)")
    with pytest.raises(DataError, match="cannot read this file") as caught:
        list(BracketedTrees(path=tmp_path / "t.zip").read())
    assert "one.mrg" in str(caught.value)
