"""A run of each shipped recipe is exported, or it is said which setting stands in the way."""

import numpy
import pytest
import torch
import transformers

from peluche.config import parse_as
from peluche.data.answering import PassageWindow, cut_passages
from peluche.errors import ConfigError
from peluche.hub.run import RunDirectory
from peluche.models.answerer import AnswererConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.language_registry import LanguageModelConfig
from peluche.models.registry import parse_model
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.recipes.recipe import load_recipe
from peluche.recipes.shipped import shipped
from peluche.tasks.export import export_model
from peluche.tasks.load import load_answerer, load_completer
from peluche.text.tokenizer import TokenizerConfig

LINES = ["A cute teddy bear is reading.\n", "Un ours en peluche mignon lit.\n"]
PEGASUS = ("multi30k-de-en", "multi30k-en-de", "multi30k-en-fr", "tatoeba-en-fr")
EXPORTED = {
    "gpt": "Qwen3ForCausalLM",
    "shakespeare": "Starcoder2ForCausalLM",
    "xquad-minilm": "BertForQuestionAnswering",
    **dict.fromkeys(PEGASUS, "PegasusForConditionalGeneration"),
}


def settings(section, **values):
    return [f"{section}.{key}={value}" for key, value in values.items()]


BERT = {"norm_placement": "post", "positions": "learned", "norm": "layernorm", "bias": "true"}
T5 = settings("model", norm="rmsnorm", bias="false"), "T5ForConditionalGeneration"
CHANGED = {
    "captions-en-de": (settings("model.encoder", **BERT, norm_input="true"), "BertModel"),
    "imdb-masked": (settings("model", **BERT, activation="gelu"), "BertForMaskedLM"),
    "quickstart": (settings("model", positions="sinusoidal"), "PegasusForConditionalGeneration"),
    "ag-news-headlines": T5,
    "ag-news-spans": T5,
}
NO_FORM = {
    "language_modelling": r"model\.kind=recurrent_lm cannot .*decoder or state_space_lm",
    "classification": r"task=classification cannot .*use the run as it is: peluche classify",
    "tagging": "task=tagging cannot .*peluche tag",
    "dependency_parsing": "task=dependency_parsing cannot .*peluche parse",
    "constituency_parsing": "task=constituency_parsing cannot .*peluche parse",
    "word_vectors": "task=word_vectors cannot .*--to word2vec .*peluche similar",
}
SETTINGS = {
    "quickstart": "Pegasus.* cannot express model.positions=rope",
    "ag-news-headlines": "cannot express model.positions=relative",
    "ag-news-spans": "cannot express model.positions=relative",
    "imdb-masked": "BertForMaskedLM.*norm=rmsnorm.*positions=rope",
    "captions-en-de": "model.encoder.norm_placement=pre",
}
BUILDERS = {
    "language_modelling": lambda values: parse_as(LanguageModelConfig, values),
    "masked_language_modelling": EncoderConfig.parse,
    "embedding": TextEmbedderConfig.parse,
    "question_answering": AnswererConfig.parse,
}


def untrained(path, name, changes=()):
    """A run of a recipe whose weights are random, and whose tokenizer has a few tokens."""
    config = load_recipe(name, changes).model_dump(mode="json")
    values, read = config["model"], {**(config["tokenizer"] or {}), "normalization": "none"}
    sizes = {} if read.get("kind") == "character" else {"vocab_size": 320}
    tokenizer = TokenizerConfig.parse({**read, **sizes}).build(LINES * 3)
    encoder = values.get("encoder") or {}
    if encoder.get("kind") == "pretrained":
        small = EncoderConfig.parse({"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24})
        encoder |= {"architecture": small.model_dump(), "vocabulary": len(tokenizer)}
    run = RunDirectory.create(path, config)
    run.save_tokenizer(tokenizer)
    model = BUILDERS.get(config["task"], parse_model)(values).build(len(tokenizer))
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    run.save_weights(model.state_dict())
    return path


def loaded(path, reader):
    """By the class that its config.json names; nothing is missing, nothing left over."""
    theirs, report = getattr(transformers, reader).from_pretrained(path, output_loading_info=True)
    assert not any(report.values()), report
    return theirs.eval()


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_is_exported_or_says_why_not(tmp_path, name):
    path, task = tmp_path / "run", load_recipe(name).model_dump()["task"]
    if name in EXPORTED:
        said = []
        folder = export_model(str(untrained(path, name)), "huggingface", say=said.append)
        assert said == [f"written for transformers.{EXPORTED[name]}"]
        loaded(folder, EXPORTED[name])
        return
    if name in SETTINGS:
        reason = SETTINGS[name]
        untrained(path, name)
    else:  # nothing but its config is read
        reason = NO_FORM[task]
        RunDirectory.create(path, load_recipe(name).model_dump(mode="json"))
    with pytest.raises(ConfigError) as caught:
        export_model(str(path), "huggingface")
    assert caught.match("(?s)" + reason)
    assert caught.value.remedy
    assert not (path / "export").exists()


@pytest.mark.parametrize("name", CHANGED)
def test_the_settings_that_are_advised_are_exported(tmp_path, name):
    changes, reader = CHANGED[name]
    folder = export_model(str(untrained(tmp_path / "run", name, changes)), "huggingface")
    loaded(folder, reader)


@pytest.mark.parametrize("name", ["gpt", "shakespeare"])
@torch.no_grad()
def test_language_models_of_recipes_are_equal_there(tmp_path, name):
    run = untrained(tmp_path / "run", name)
    ours, folder = load_completer(run), export_model(str(run), "huggingface")
    theirs, cutter = loaded(folder, EXPORTED[name]), transformers.AutoTokenizer
    ids = cutter.from_pretrained(folder)(LINES[0], return_tensors="pt").input_ids
    assert ids.tolist() == [ours.tokenizer.encode(LINES[0], bos=True)]
    expected = ours.model.logits(ours.model.hidden(ids))
    torch.testing.assert_close(theirs(ids).logits, expected, atol=1e-5, rtol=0)
    written = theirs.generate(ids, max_new_tokens=40, min_new_tokens=40, use_cache=True)
    assert written.shape[1] > ids.shape[1] + 30
    logits = ours.model.logits(ours.model.hidden(written))[0]
    never = [*ours.tokenizer.special.never, ours.tokenizer.eos_id]
    logits[:, [number for number in never if number >= 0]] = -torch.inf
    for place in range(ids.shape[1], written.shape[1]):
        best, second = logits[place - 1].topk(2).values
        if best - second > 1e-4:
            assert written[0, place] == logits[place - 1].argmax()


def test_answers_are_equal_there(tmp_path):
    run = untrained(tmp_path / "run", "xquad-minilm")
    ours, folder = load_answerer(run), export_model(str(run), "huggingface")
    theirs = loaded(folder, "BertForQuestionAnswering")
    cutter = transformers.AutoTokenizer.from_pretrained(folder)
    read = cutter("Who is reading?", LINES[0], return_tensors="pt")
    passages = cut_passages(["Who is reading?"], [LINES[0]], ours.tokenizer, 384, ours.config)
    batch = PassageWindow(passages, [(0, 0)]).batch(numpy.array([0]))
    assert torch.equal(read["input_ids"], batch.tokens)
    assert torch.equal(read["token_type_ids"], batch.segments)
    with torch.no_grad():
        found, expected = theirs(**read), ours.model.scores(batch)
    for logits, scores in (
        (found.start_logits, expected.starts),
        (found.end_logits, expected.ends),
    ):
        allowed = batch.allowed
        torch.testing.assert_close(logits[allowed], scores[allowed], atol=1e-5, rtol=0)
