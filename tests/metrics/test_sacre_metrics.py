"""BLEU, chrF and TER must be sacreBLEU's to the last digit that matters."""

import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF, TER

from peluche.metrics import score, sentence_scores

HYPOTHESES = [
    "Un ours en peluche mignon lit.",
    "Le chat, lui, dort sur la chaise (rouge) !",
    "",
    "L'enfant a mangé 1,5 pomme & 2.0 poires.",
    "Oui",
    "la fille la fille la fille joue",
]
REFERENCES = [
    "Un mignon ours en peluche est en train de lire.",
    "Le chat dort sur la chaise rouge !",
    "Rien à voir ici.",
    "L'enfant a mangé 1,5 pomme et 2,0 poires.",
    "Oui",
    "La fille joue avec une autre fille.",
]
SECOND = [
    "Un ours en peluche mignon lit.",
    "Un chat noir dort.",
    "",
    "L'enfant mange.",
    "Non merci, sans façon",
    "la fille joue",
]
CORPORA = {
    "mixed": (HYPOTHESES, [REFERENCES]),
    "two references": (HYPOTHESES, [REFERENCES, SECOND]),
    "identical": (REFERENCES, [REFERENCES]),
    "one sentence": (HYPOTHESES[:1], [REFERENCES[:1]]),
    "one word": (["Oui"], [["Oui"]]),
    "empty hypotheses": ([""] * 3, [REFERENCES[:3]]),
    "empty references": (HYPOTHESES[:3], [[""] * 3]),
    "both empty": ([""], [[""]]),
    "nothing shared": (["a b c d e"], [["v w x y z"]]),
}
corpus = pytest.mark.parametrize(("hypotheses", "references"), CORPORA.values(), ids=CORPORA)


def only(name, hypotheses, references, **options):
    return score([name], hypotheses, references, **{"bootstrap": 0, **options})[0]


@corpus
@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu_is_that_of_sacrebleu(hypotheses, references, tokenize, lowercase):
    ours = only("bleu", hypotheses, references, tokenize=tokenize, lowercase=lowercase)
    theirs = sacrebleu.corpus_bleu(
        hypotheses, references, tokenize=tokenize, lowercase=lowercase
    ).score
    assert ours.score == pytest.approx(theirs, abs=1e-9)


@corpus
def test_sentence_bleu_is_that_of_sacrebleu(hypotheses, references):
    found = sentence_scores(["bleu"], hypotheses, references)[0]
    expected = [
        sacrebleu.sentence_bleu(hypothesis, list(alternatives)).score
        for hypothesis, *alternatives in zip(hypotheses, *references, strict=True)
    ]
    assert found.scores == pytest.approx(expected, abs=1e-9)
    assert "eff:yes" in found.signature


@corpus
@pytest.mark.parametrize("lowercase", [False, True])
def test_chrf_is_that_of_sacrebleu(hypotheses, references, lowercase):
    for name, order in (("chrf", 0), ("chrf++", 2)):
        ours = only(name, hypotheses, references, lowercase=lowercase)
        theirs = CHRF(word_order=order, lowercase=lowercase).corpus_score(hypotheses, references)
        assert ours.score == pytest.approx(theirs.score, abs=1e-9)
    found = sentence_scores(["chrf"], hypotheses, references)[0]
    expected = [
        sacrebleu.sentence_chrf(hypothesis, list(alternatives)).score
        for hypothesis, *alternatives in zip(hypotheses, *references, strict=True)
    ]
    assert found.scores == pytest.approx(expected, abs=1e-9)


@corpus
def test_ter_is_that_of_sacrebleu(hypotheses, references):
    ours = only("ter", hypotheses, references)
    assert ours.score == pytest.approx(sacrebleu.corpus_ter(hypotheses, references).score, abs=1e-9)
    found = sentence_scores(["ter"], hypotheses, references)[0]
    expected = [
        sacrebleu.sentence_ter(hypothesis, list(alternatives)).score
        for hypothesis, *alternatives in zip(hypotheses, *references, strict=True)
    ]
    assert found.scores == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "backend"),
    [("bleu", BLEU()), ("chrf", CHRF()), ("chrf++", CHRF(word_order=2)), ("ter", TER())],
)
def test_signature_and_interval_are_those_of_sacrebleu(name, backend):
    hypotheses, references = HYPOTHESES * 5, [REFERENCES * 5, SECOND * 5]
    ours = score([name], hypotheses, references, bootstrap=200)[0]
    theirs = backend.corpus_score(hypotheses, references, n_bootstrap=200)
    assert ours.signature == str(backend.get_signature())
    assert ours.ci is not None
    # sacreBLEU resamples in single precision.
    assert (ours.ci[1] - ours.ci[0]) / 2 == pytest.approx(theirs._ci, abs=1e-4)


def test_signature_tells_settings_apart():
    signatures = {
        only("bleu", HYPOTHESES, REFERENCES, **options).signature
        for options in (
            {},
            {"tokenize": "none"},
            {"lowercase": True},
            {"bootstrap": 10},
            {"bootstrap": 10, "seed": 1},
        )
    }
    assert len(signatures) == 5


def test_force_silences_the_warning_about_tokenised_text(caplog):
    tokenised = ["Un ours lit ."] * 100
    only("bleu", tokenised, tokenised, force=True)
    assert not caplog.records
    only("bleu", tokenised, tokenised)
    assert "tokenized period" in caplog.text
