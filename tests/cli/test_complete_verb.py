"""`peluche complete`: one prompt, many, batch files that go on, guides, and searches."""

from __future__ import annotations

import itertools
import json
import weakref

import pytest
import typer
from typer.testing import CliRunner

import peluche
from peluche.cli import generating
from peluche.cli.complete import register
from peluche.errors import ConfigError, DataError
from peluche.tasks import batch
from peluche.tasks.generate import TextGenerator
from talking import make_run

PROMPTS = ["What is", "bear", "the été 🧸"]
CHOSEN = ("--max-tokens", "7", "--seed", "4")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(make_run(tmp_path_factory.mktemp("runs") / "tiny"))


@pytest.fixture(scope="module")
def completer(run):
    return peluche.load(run)


def invoke(*arguments: str, stdin: str | bytes | None = None):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_lines_in_lines_out(run, completer):
    found = invoke(run, *CHOSEN, stdin="\n".join(PROMPTS) + "\n").stdout
    expected = completer.generate(PROMPTS, max_tokens=7, seed=4)
    texts = [prompt + one.text for prompt, one in zip(PROMPTS, expected, strict=True)]
    assert found == "".join(f"{text}\n" for text in texts)
    # One alone is printed as it is written.
    assert invoke(run, PROMPTS[0], *CHOSEN).stdout == texts[0] + "\n"


def test_the_draws_are_those_of_the_search(run, completer):
    from peluche.generation.sampling import SamplingParameters

    found = objects(
        invoke(run, *CHOSEN, "--samples", "3", "--json", stdin="\n".join(PROMPTS)).stdout
    )
    expected = completer.complete(
        PROMPTS, max_tokens=7, n_best=3, sampling=SamplingParameters(seed=4)
    )
    key = lambda one: (one["prompt"], one["completion"])  # noqa: E731
    assert sorted(map(key, found)) == sorted(key(one.as_json()) for one in expected)
    assert [one["prompt"] for one in found] == [prompt for prompt in PROMPTS for _ in range(3)]
    for place in range(0, 9, 3):
        scores = [one["score"] for one in found[place : place + 3]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("way", ["prompt", "batch"])
def test_a_model_that_writes_by_a_copy_of_its_weights_is_let_go(run, tmp_path, monkeypatch, way):
    load, finished, models = generating.load, TextGenerator.finished, []

    def remember(context):
        completer = load(context)
        models.append(weakref.ref(completer.model))
        return completer

    def write(self, requests):
        models.append(models[0]())
        return finished(self, requests)

    monkeypatch.setattr(generating, "load", remember)
    monkeypatch.setattr(TextGenerator, "finished", write)
    (tmp_path / "asked.jsonl").write_text('{"prompt": "A cute"}\n')
    asked = {"prompt": ["A cute", "--json"], "batch": ["--batch", str(tmp_path / "asked.jsonl")]}
    assert invoke(run, *asked[way], "--max-tokens", "2").exit_code == 0
    assert models[1] is None


def test_greedy_beams_and_contrastive_search(run, completer):
    greedy = completer.complete(["bear"], max_tokens=7)[0].text
    assert invoke(run, "bear", "--greedy", "--max-tokens", "7").stdout == f"bear{greedy}\n"
    assert (
        invoke(run, "bear", "--temperature", "0", "--max-tokens", "7").stdout[4:] == greedy + "\n"
    )
    options = ("--max-tokens", "7", "--json")
    found = objects(invoke(run, "bear", "--beams", "4", "--samples", "2", *options).stdout)
    expected = completer.complete(["bear"], max_tokens=7, beams=4, n_best=2)
    assert [one["completion"] for one in found] == [one.text for one in expected]
    (found,) = objects(invoke(run, "bear", "--penalty-alpha", "0.6", *options).stdout)
    (expected,) = completer.complete(["bear"], max_tokens=7, penalty_alpha=0.6, candidates=4)
    assert found["completion"] == expected.text


def test_stop_strings_and_log_probabilities(run, completer):
    (whole,) = completer.generate(["bear"], max_tokens=7, seed=4)
    stop = whole.text[3:5]
    options = (*CHOSEN, "--json", "--logprobs", "2", "--stop", "never", "--stop", stop)
    (found,) = objects(invoke(run, "bear", *options).stdout)
    assert found["completion"] == whole.text[: whole.text.index(stop)]
    assert found["finish_reason"] == "stop"
    assert all(len(one["top"]) == 2 for one in found["logprobs"])


def test_a_prompt_that_fails_fails_alone(tmp_path):
    small = str(make_run(tmp_path / "small", positions="learned", max_length=30))
    result = invoke(small, *CHOSEN, "--json", stdin=f"a\n{'xz' * 20}\nb\n")
    first, second, third = objects(result.stdout)
    assert (first["prompt"], third["prompt"]) == ("a", "b")
    assert second["finish_reason"] == "error"
    assert "over the model's 30" in result.stderr
    assert "prompt 2" in result.stderr
    assert result.exit_code == 3
    cut = invoke(small, *CHOSEN, "--json", "--overflow", "truncate", stdin="xz" * 20)
    assert objects(cut.stdout)[0]["prompt_tokens"] == 23
    long = invoke(small, "a", "--max-tokens", "90", "--overflow", "slide", "--seed", "4", "--json")
    assert objects(long.stdout)[0]["completion_tokens"] > 30


def test_guesses_change_nothing(run):
    lines = "\n".join(PROMPTS)
    plain = objects(invoke(run, *CHOSEN, "--json", stdin=lines).stdout)
    for guesses in (["--lookup"], ["--draft", run]):
        found = objects(invoke(run, *CHOSEN, "--json", *guesses, stdin=lines).stdout)
        # With more rows at a time, PyTorch may add in another order.
        for one, other in zip(found, plain, strict=True):
            assert one.pop("score") == pytest.approx(other["score"], abs=1e-5)
            assert one == {key: value for key, value in other.items() if key != "score"}


def test_a_model_guesses_for_itself_in_fewer_bits(run, monkeypatch):
    from peluche.tasks import engines, load

    opened, made = [], []
    load_completer, fastest = load.load_completer, engines.fastest_runner

    def open_(name, **options):
        opened.append(name)
        return load_completer(name, **options)

    def remember(model, *arguments):
        made.append((model, arguments[2]))
        return fastest(model, *arguments)

    monkeypatch.setattr(load, "load_completer", open_)
    monkeypatch.setattr(engines, "fastest_runner", remember)
    expected = invoke(run, *CHOSEN, "--precision", "float32", "the cat").stdout
    assert opened == [run]
    found = invoke(run, *CHOSEN, "--precision", "float32", "--draft", run, "the cat").stdout
    assert opened == [run, run]  # once each time
    assert [precision for _, precision in made] == ["float32", "auto", "float32"]
    assert made[1][0] is made[2][0]
    assert found == expected


def test_how_a_model_runs_is_said_by_options(run, monkeypatch):
    from peluche.tasks import engines

    made, used, fastest = [], [], engines.fastest_runner

    def remember(*arguments):
        made.append(arguments[1:])
        return fastest(*arguments)

    monkeypatch.setattr(engines, "fastest_runner", remember)
    monkeypatch.setattr("torch.set_num_threads", used.append)
    options = (*CHOSEN, "--kv-cache", "float16", "--memory", "0.01", "--threads", "1")
    assert invoke(run, "bear", *options).exit_code == 0
    # Of 64 bytes each.
    assert made == [(156 // 16, 16, "auto", "float16")]
    assert used == [1]


def test_what_cannot_be_asked(run, tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{")
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 200_000)
    for options, says in [
        (["--greedy", "--samples", "2"], "--greedy has one"),
        (["--top-p", "2"], "top_p"),
        (["--beams", "2", "--top-k", "3"], "there is no top_k"),
        (["--greedy", "--temperature", "1.5"], "--greedy is temperature 0"),
        (["--beams", "3", "--penalty-alpha", "0.6"], "exclude each other"),
        (["--penalty-alpha", "0.6", "--samples", "3"], "--penalty-alpha has one"),
        (["--beams", "3", "--draft", run], "there is no --draft"),
        (["--beams", "3", "--precision", "int8"], "there is no --precision"),
        (["--penalty-alpha", "0.6", "--lookup"], "there is no --lookup"),
        (["--beams", "3", "--kv-cache", "int8"], "there is no --kv-cache"),
        (["--threads", "9999"], r"(?s)9999 threads for the \d+ cores .*nearest"),
        (
            ["--memory", "0.001"],
            "(?s)0.001 MB do not hold .* of 16 tokens, 128 bytes each.*0.002048 MB",
        ),
        (["--candidates", "3"], "for --penalty-alpha"),
        (["--regex", "a", "--schema", str(file)], "not JSON"),
        (["--schema", str(deep)], "not JSON"),
        (["--schema", '\n {"type": "object"}'], r"--schema is the name of a file(?s:.)*'\{\"type"),
        (["--grammar", 'start: "a" b\nb: "c"'], "--grammar is the name of a file"),
        (["--lookup", "--draft", run], "exclude each other"),
        (["--output", "x"], "for --batch"),
        (["--logprobs", "2"], "for --json"),
        (["--batch", str(file)], "prompts are in the file"),
        (["--suffix", "x"], r"has no \[PREFIX\]"),
    ]:
        with pytest.raises(ConfigError, match=says):
            invoke(run, "bear", *options)
    with pytest.raises(ConfigError, match="exclude each other"):
        invoke(run, "bear", "--regex", "a", "--grammar", str(file))
    with pytest.raises(DataError, match=r"none\.jsonl"):
        invoke(run, "--batch", str(tmp_path / "none.jsonl"))


def test_what_is_wrong_is_said_before_the_prompt_is_shown(run):
    app = typer.Typer()
    register(app)
    found = CliRunner().invoke(app, [run, "bear", "--logit-bias", "99999999=1"])
    assert isinstance(found.exception, ConfigError)
    assert found.stdout == ""


def test_a_guide_is_followed(run):
    pytest.importorskip("llguidance")
    (found,) = objects(invoke(run, "bear", "--regex", "[0-9]{3}-[ab]+x", "--json", *CHOSEN).stdout)
    assert found["completion"][:4].replace("-", "").isdigit()


def test_a_batch_that_is_stopped_goes_on(run, tmp_path, monkeypatch):
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS * 4))
    options = (run, "--batch", str(path), *CHOSEN)
    whole = objects(invoke(*options).stdout)
    assert [one["index"] for one in whole] == list(range(12))
    everything = batch.run_batch

    def stopped(*arguments, **named):
        yield from itertools.islice(everything(*arguments, **named), 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run_batch", stopped)
    result = invoke(*options, "-o", str(output))
    assert result.exit_code == 130
    assert f"goes on with what {output} lacks" in result.stderr
    # A kill may leave half a line.
    with output.open("a") as stream:
        stream.write('{"index": 11, "torn')
    monkeypatch.setattr(batch, "run_batch", everything)
    result = invoke(*options, "-o", str(output))
    assert "5 requests done already" in result.stderr
    assert objects(output.read_text(encoding="utf-8")) == [
        {**one, "score": pytest.approx(one["score"], abs=1e-5)} for one in whole
    ]


def test_a_batch_does_not_write_over_itself(run, tmp_path):
    path, link = tmp_path / "in.jsonl", tmp_path / "link.jsonl"
    path.write_text('{"index": 0, "prompt": "a"}')
    link.symlink_to(path)
    for output in (path, link):
        with pytest.raises(ConfigError, match="the file of --batch itself"):
            invoke(run, "--batch", str(path), "-o", str(output))
    assert path.read_text() == '{"index": 0, "prompt": "a"}'


def test_a_batch_that_is_refused_leaves_no_file(run, tmp_path):
    path, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    path.write_text("What is\nit?\n")
    with pytest.raises(DataError, match="not one JSON object a line"):
        invoke(run, "--batch", str(path), "-o", str(output))
    assert not output.exists()
    path.write_text('{"prompt": "a"}\n')
    with pytest.raises(DataError, match="it cannot be written: No such file"):
        invoke(run, "--batch", str(path), "-o", str(tmp_path / "none" / "out.jsonl"))


def test_a_batch_with_lines_that_fail(run, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "bear"}\nnonsense\n')
    result = invoke(run, "--batch", str(path), "--unordered", *CHOSEN)
    assert "error" in {one["index"]: one for one in objects(result.stdout)}[1]
    assert result.exit_code == 1
    assert "1 request failed" in result.stderr
    # Also when they failed in a run before this one.
    for _ in range(2):
        result = invoke(run, "--batch", str(path), "-o", str(tmp_path / "out.jsonl"), *CHOSEN)
        assert result.exit_code == 1
        assert "1 request failed" in result.stderr
