"""Trees as pictures: every word and name is there, arcs do not lie on one another."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.data.brackets import Tree
from peluche.errors import ConfigError
from peluche.reporting.trees import arc_levels, draw_tree
from peluche.tasks.parse import ConstituencyTree, DependencyTree

DEPENDENCY = DependencyTree(
    ["A", "cute", "teddy", "bear", "is", "reading", "."],
    ["DET", "ADJ", "NOUN", "NOUN", "AUX", "VERB", "PUNCT"],
    [4, 4, 4, 6, 6, 0, 6],
    ["det", "amod", "compound", "nsubj", "aux", "root", "punct"],
)
CONSTITUENCY = ConstituencyTree(
    ["Bears", "read"],
    Tree(
        "S",
        (
            Tree("NP", (Tree("NNS", ("Bears",)),)),
            Tree("VP", (Tree("VBP", ("read",)),)),
        ),
    ),
)


@pytest.mark.parametrize("tree", [DEPENDENCY, CONSTITUENCY], ids=["dependency", "constituency"])
def test_a_picture_says_everything_and_is_the_same_each_time(tree, tmp_path):
    draw_tree(tree, tmp_path / "one.svg")
    draw_tree(tree, tmp_path / "two.svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
    names = set(tree.tokens)
    if isinstance(tree, DependencyTree):
        names |= {*tree.tags, *tree.relations}
    else:
        names |= {"S", "NP", "VP", "NNS", "VBP"}
    for name in names:
        assert f">{name}<" in text
    draw_tree(tree, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_no_known_format(tmp_path):
    with pytest.raises(ConfigError, match=r"\.docx"):
        draw_tree(DEPENDENCY, tmp_path / "tree.docx")


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.integers(0, n), min_size=n, max_size=n)))
def test_arcs_of_one_height_share_no_more_than_an_end(heads):
    levels = arc_levels(heads)
    arcs = [
        (sorted((place, head)), level)
        for place, (head, level) in enumerate(zip(heads, levels, strict=True), 1)
        if head != 0
    ]
    for (one, level), (other, same) in itertools.combinations(arcs, 2):
        if level == same:
            assert one[1] <= other[0] or other[1] <= one[0]
