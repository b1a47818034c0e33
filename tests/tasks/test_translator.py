"""Translator: sentences in, sentences out, in order, whatever the input."""

from __future__ import annotations

import pytest
import torch

import peluche
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.generation.config import DecodingConfig
from peluche.generation.sampling import SamplingParameters
from peluche.hub.run import RunDirectory
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.tasks.load import load_task
from peluche.tasks.translate import Translator
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

SENTENCES = [
    "A bear reads.",
    "",
    "The small rabbit sleeps near the big house.",
    "   ",
    "Two dogs.",
    "Is the cat in the kitchen with the teddy bear?",
]
DECODING = {"beams": 3, "max_length_factor": 1.0, "max_length_offset": 3}
MODEL = {"kind": "encoder_decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return TokenizerConfig(vocab_size=300, byte_level=True).build(SENTENCES)


def model_of(settings: dict[str, object], vocabulary: int):
    torch.manual_seed(3)
    model = EncoderDecoderConfig.parse(settings).build(vocabulary).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


@pytest.fixture
def translator(tokenizer) -> Translator:
    said: list[str] = []
    decoding = DecodingConfig(max_length_factor=1.0, max_length_offset=3)
    made = Translator(model_of(MODEL, len(tokenizer)), tokenizer, decoding, say=said.append)
    made.said = said
    return made


@pytest.fixture
def run(tmp_path, tokenizer) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run", {"model": MODEL, "decoding": DECODING})
    run.save_tokenizer(tokenizer)
    run.save_weights(model_of(MODEL, len(tokenizer)).state_dict())
    return run


def test_results_come_in_input_order(translator):
    together = translator.translate(SENTENCES)
    assert together == [translator.translate([sentence])[0] for sentence in SENTENCES]
    assert together == translator.translate(SENTENCES, batch_tokens=1)
    assert len(set(together)) > 3


def test_changed_weights_show_after_refresh(run, translator):
    loaded = peluche.load(run.path)
    for one in (loaded, translator):
        before = one.translate(SENTENCES, beams=1)
        with torch.no_grad():
            for parameter in one.model.parameters():
                parameter.mul_(-0.8)
        one.refresh()
        assert one.translate(SENTENCES, beams=1) != before
    assert loaded.translate(SENTENCES, beams=1) == translator.translate(SENTENCES, beams=1)


def test_empty_sentences_have_empty_translations(translator):
    found = translator.translate_with_scores(["", SENTENCES[0], " \t "])
    assert [t.translation == "" for t in found] == [True, False, True]
    assert found[0].score == 0.0
    assert translator.translate([]) == []


def test_scores_are_normalised_log_probabilities(translator, tokenizer):
    [found] = translator.translate_with_scores([SENTENCES[0]])
    source = torch.tensor([tokenizer.encode(SENTENCES[0], eos=True)])
    target = torch.tensor([[tokenizer.bos_id, *found.tokens, tokenizer.eos_id]])
    with torch.no_grad():
        memory = translator.model.encode(source, torch.ones_like(source, dtype=torch.bool))
        hidden = translator.model.hidden(target[:, :-1], condition=memory)
        steps = translator.model.logits(hidden)[0].log_softmax(-1)
    total = float(steps.gather(1, target[0, 1:, None]).sum())
    assert found.score == pytest.approx(total / (len(found.tokens) + 1), abs=1e-5)
    assert found.translation == tokenizer.decode(found.tokens)


def test_n_best_gives_so_many_in_a_row_best_first(translator):
    flat = translator.translate(SENTENCES[:3], beams=4, n_best=3)
    assert len(flat) == 9
    assert flat[::3] == translator.translate(SENTENCES[:3], beams=4)
    config = translator.options(beams=4, n_best=3)
    for found in translator.translate_with_scores(SENTENCES, config):
        scores = [candidate.score for candidate in found.candidates]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3


def test_prefixes_begin_the_translation(translator):
    for beams in (1, 3):
        [one] = translator.translate([SENTENCES[0]], beams=beams, prefix="The cat")
        assert one.startswith("The cat")
    own = translator.translate([SENTENCES[0], SENTENCES[2]], prefix=["A dog", "Two bears"])
    assert own[0].startswith("A dog")
    assert own[1].startswith("Two bears")


def test_as_many_prefixes_as_sentences(translator):
    with pytest.raises(DataError, match="2 sentences but 1 prefixes"):
        translator.translate(SENTENCES[:2], prefix=["A"])


def test_sampling_is_reproducible_and_varied(translator):
    def draw(seed: int) -> list[str]:
        sampling = SamplingParameters(temperature=1.5, seed=seed)
        return translator.translate([SENTENCES[0]] * 4, sampling=sampling)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert len(set(draw(1))) > 1


def test_a_line_of_100_000_words_is_cut_and_named(translator):
    lines = [SENTENCES[0], "bear " * 100_000, SENTENCES[4]]
    decoding = DecodingConfig(kind="greedy", max_length=16)
    found = translator.translate_with_scores(lines, decoding, first_line=40)
    assert [f.translation for f in found[::2]] == [
        t.translation for t in translator.translate_with_scores(lines[::2], decoding)
    ]
    assert len(found[1].tokens) <= 16
    assert len(translator.said) == 1
    assert "line 41" in translator.said[0]
    assert "cut after 16" in translator.said[0]


def test_a_model_with_learned_positions_is_never_asked_for_more(tokenizer):
    settings = MODEL | {"positions": "learned", "max_length": 12}
    said: list[str] = []
    translator = Translator(model_of(settings, len(tokenizer)), tokenizer, say=said.append)
    found = translator.translate_with_scores(["the bear and the dog and the rabbit read it"])
    assert len(found[0].tokens) <= 11
    assert "cut after 11" in said[0]
    with pytest.raises(DataError, match="prefix for line 1"):
        translator.translate(["A bear."], prefix="the bear and the dog and the rabbit read it")


def test_a_model_in_training_is_left_as_it_was(translator):
    expected = translator.translate(SENTENCES)
    translator.model.train()
    assert translator.translate(SENTENCES) == expected
    assert translator.model.training


def test_streams_and_lists_agree(translator):
    lines = SENTENCES * 12
    streamed = [t.translation for t in translator.stream(iter(lines), block=40)]
    assert streamed == translator.translate(lines)


def test_load_opens_a_run_with_its_own_settings(run, translator):
    loaded = peluche.load(str(run.path))
    assert loaded.decoding.beams == 3
    assert loaded.translate(SENTENCES) == translator.translate(SENTENCES, beams=3)
    assert load_task(run.path, beams=2).decoding.beams == 2


def test_load_takes_other_weights_of_the_run(run, tokenizer):
    other = model_of(MODEL, len(tokenizer)).state_dict()
    run.save_weights({name: -tensor for name, tensor in other.items()}, "best")
    best, last = load_task(run.path, weights="best"), load_task(run.path)
    assert torch.equal(best.model.head.weight, -last.model.head.weight)


def test_weights_of_another_model_are_refused(run, tokenizer):
    settings = MODEL | {"d_ff": 64}
    run.save_weights(model_of(settings, len(tokenizer)).state_dict())
    with pytest.raises(
        CheckpointError, match=r"down.weight' has the shape \(16, 64\), not \(16, 32\)"
    ):
        load_task(run.path)


def test_a_run_without_a_model_is_refused(tmp_path, tokenizer):
    run = RunDirectory.create(tmp_path / "other", {"note": "nothing"})
    run.save_tokenizer(tokenizer)
    with pytest.raises(CheckpointError, match="no 'model'"):
        load_task(run.path)


def test_unknown_settings_are_refused_with_the_nearest(run):
    with pytest.raises(ConfigError, match="beams"):
        load_task(run.path, beam=2)
