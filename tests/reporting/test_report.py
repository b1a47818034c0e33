"""The report of a run: what it says of full, partial, resumed and empty logs."""

import json
import re
from html.parser import HTMLParser

import pytest

from peluche.errors import CheckpointError, DataError
from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import load_recipe
from peluche.reporting.report import save_examples, write_report
from peluche.reporting.run_summary import Sample, summarise
from peluche.reporting.verdicts import judge

VOID = {"meta", "link", "line", "path", "rect", "br"}
SCORES = [
    {"metric": "exact_match", "score": 97.25, "signature": "strip:ends", "ci": [96.5, 97.9]},
    {"metric": "bleu", "score": 99.1, "signature": "tok:13a", "ci": None},
]
EXAMPLES = [
    {"source": "A bear.", "reference": "Un ours.", "output": "Un ours."},
    {"source": "A cat.", "reference": "Un chat.", "output": "Un chien."},
]


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps texts and attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.attributes = [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += re.sub(r"\s+", " ", data)


def page_of(run, **options):
    return Page(write_report(run, **options).read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    recipe = load_recipe("quickstart", ["training.steps=60"])
    return RunDirectory.create(tmp_path / "runs" / "bear", recipe.model_dump(mode="json"))


def log_start(run, step=0):
    run.log({"event": "machine", "machine": "two cores"})
    run.log({"event": "phase", "name": "read the corpus", "seconds": 2.0})
    run.log({"event": "model", "parameters": 3_061_632, "vocabulary": 2000})
    if step:
        run.log({"event": "resume", "step": step})
    run.log({"event": "start", "step": step, "total": 60})


def log_steps(run, first, last, said="Un ours lit."):
    for step in range(first + 20, last + 1, 20):
        figures = {"loss": 60 / step, "rate": 0.001, "tokens": 2000, "seconds": 2.0}
        run.log({"event": "step", "step": step, "epoch": 0, **figures})
        scores = {"loss": 1.5, "perplexity": 3.0, "bleu": 50.0, "exact_match": 40.0}
        samples = [["A bear reads.", said if step > 20 else "Le le."]]
        run.log({"event": "evaluate", "step": step, **scores, "samples": samples})


def log_test(run):
    run.log({"event": "stop", "reason": "finished"})
    run.log({"event": "phase", "name": "train", "seconds": 61.0})
    found = {"scores": SCORES, "examples": 2000, "seconds": 9.0}
    config = run.config
    run.log(
        {
            "event": "test",
            "data": config["data"]["test"],
            "decoding": config["decoding"],
            **found,
        }
    )


def test_a_finished_run(run):
    log_start(run)
    log_steps(run, 0, 60)
    log_test(run)
    save_examples(run, EXAMPLES)
    page = page_of(run)
    layers = run.config["model"]["layers"]
    for said in (
        "Training finished after 60 steps.",
        "parameters3.062M",
        f"{layers} + {layers} layers of width",
        "two cores",
        "2,000 examples (built-in English–French corpus, test, 2,000 pairs)",
        "97.25 96.50 – 97.90",
        "strip:ends",
        "1 min 01 s",
        "1 of 2 are exactly the reference",
        "kind: encoder_decoder",
    ):
        assert said in page.text
    charts = [value for key, value in page.attributes if key == "aria-label"]
    assert [chart.split(" by step")[0] for chart in charts] == [
        "Loss",
        "Scores",
        "Perplexity",
        "Learning rate",
        "Speed",
    ]
    assert "at the end bleu 50, exact match 40" in charts[1]


def test_the_wrong_come_before_the_right(run):
    text = page_of(run, examples=EXAMPLES).text
    assert text.index("Un chat.") < text.index("Un chien.") < text.index("Un ours.")


def test_everything_is_escaped_and_nothing_is_fetched(run):
    nasty = "</style><script>alert(1)</script><img src=x> & \"q\" 'q'"
    log_start(run)
    log_steps(run, 0, 40, said=nasty)
    run.log({"event": "stop", "reason": nasty})
    page = page_of(run, examples=[{"source": nasty, "reference": nasty, "output": "b"}])
    assert page.text.count("<script>alert(1)</script>") >= 4
    html = (run.report_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    links = [value for key, value in page.attributes if key in ("src", "href")]
    assert links == ["data:,"]
    assert "url(" not in html
    assert "@import" not in html


def test_an_empty_log(run):
    text = page_of(run).text
    assert "Training has not begun" in text
    assert f"peluche train --resume {run.path}" in text
    assert "How it learned" not in text


def test_killed_in_the_first_steps(run):
    log_start(run)
    text = page_of(run).text
    assert "The log ends at step 0 of 60" in text
    assert "read the corpus" in text


def test_stopped_by_a_signal(run):
    log_start(run)
    log_steps(run, 0, 20)
    run.log({"event": "stop", "reason": "stopped by SIGTERM"})
    text = page_of(run).text
    assert "Training ended at step 20 of 60: stopped by SIGTERM." in text
    assert "--resume" in text


def test_resumed_runs_show_each_step_once(run):
    log_start(run)
    log_steps(run, 0, 60, said="void")
    log_start(run, step=20)
    log_steps(run, 20, 40)
    summary = summarise(run)
    assert [event["step"] for event in summary.steps] == [20, 40]
    assert (summary.starts, summary.machines, summary.step) == (2, ("two cores",), 40)
    assert summary.reason is None
    assert (summary.tokens, summary.seconds) == (4000, 4.0)
    assert [(phase.seconds, phase.times) for phase in summary.phases] == [(4.0, 2)]
    text = page_of(run).text
    assert "Training was started 2 times" in text
    assert "void" not in text


def test_a_stop_before_a_resume_does_not_count(run):
    log_start(run)
    run.log({"event": "stop", "reason": "stopped by SIGINT"})
    log_start(run, step=20)
    assert summarise(run).reason is None


def test_rollbacks_are_told(run):
    log_start(run)
    log_steps(run, 0, 20)
    run.log({"event": "rollback", "failed": 33, "found": "loss nan"})
    assert "At step 33 the loss was not a number (loss nan)" in page_of(run).text


def test_a_config_of_another_kind(tmp_path):
    run = RunDirectory.create(tmp_path / "other", {"anything": 1})
    assert "anything: 1" in page_of(run).text


def test_equal_samples_are_joined(run):
    log_start(run)
    log_steps(run, 0, 60)
    (history,) = summarise(run).samples().values()
    assert history == [Sample(20, 20, "Le le."), Sample(40, 60, "Un ours lit.")]


def test_the_command_makes_the_same_recipe(run):
    text = page_of(run).text
    config = re.search(r"peluche train (\S+\.yaml) --run", text)[1]
    assert load_recipe(config).model_dump(mode="json") == run.config


@pytest.mark.parametrize("balance", [{}, {"balance": 1.1}])
def test_the_load_of_experts_is_drawn_if_it_was_logged(run, balance):
    log_start(run)
    log_steps(run, 0, 20)
    assert "Load of experts" not in page_of(run).text
    loads = {"busiest": 1.75, "idlest": 0.25, **balance}
    run.log({"event": "step", "step": 40, "loss": 1.0, "tokens": 9, "seconds": 1.0, **loads})
    text = page_of(run).text
    assert "Load of experts" in text
    assert "busiest 1.75 least busy 0.25" in text
    assert ("balance term 1.1" in text) == bool(balance)


def test_a_link_to_the_explanation(run):
    assert "explain.html" not in [value for _, value in page_of(run).attributes]
    (run.report_path / "explain.html").touch()
    assert ("href", "explain.html") in page_of(run).attributes


def test_kept_examples_are_read_and_given_ones_win(run):
    save_examples(run, EXAMPLES)
    assert "Un chien." in page_of(run).text
    assert "Un chien." not in page_of(run, examples=EXAMPLES[:1]).text
    lines = (run.report_path / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == EXAMPLES


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"not JSON", b'{"source": "\xff"}'])
def test_damaged_examples_are_refused_with_their_line(run, line):
    path = save_examples(run, EXAMPLES)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"examples\.jsonl:3"):
        write_report(run)


def test_a_page_that_cannot_be_written(run):
    (run.path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot save the report"):
        write_report(run, output=run.path / "file" / "page.html")


@pytest.mark.parametrize(
    ("metric", "score", "verdict"),
    [
        ("bleu", 97.3, "reached"),
        ("bleu", 98.7, "reached"),
        ("bleu", 97.2, "missed"),
        ("bleu", 99.0, "better"),
        ("ter", 99.0, "missed"),
        ("ter", 97.0, "better"),
        ("bits_per_byte", 99.0, "missed"),
    ],
)
def test_verdicts(metric, score, verdict):
    figure = {"metric": metric, "split": "test", "value": 98.0, "tolerance": 0.7}
    (found,) = judge([figure], {metric: score}, {})
    assert found.verdict == verdict


def test_a_figure_of_the_validation_set_and_one_that_is_missing():
    figures = [
        {"metric": "bleu", "split": split, "value": 50, "tolerance": 1}
        for split in ("validation", "test")
    ]
    found = judge(figures, {}, {"bleu": 50.5})
    assert [item.verdict for item in found] == ["reached", "not measured"]


def test_what_a_run_made_of_its_machine(run):
    log_start(run)
    log_steps(run, 0, 60)
    for step, flops, mfu in ((20, 3e9, 0.3), (60, 9e9, 0.6)):
        figures = {"step": step, "flops": flops, "mfu": mfu, "peak_bytes": 10_000_000 * step}
        run.log({"event": "efficiency", **figures})
    run.log({"event": "forecast", "predicted": 2.2, "reached": 2.0, "error": 0.1})
    page = page_of(run)
    for said in (
        "operations of training1.20e+10",
        "of the machine's matrix products48 %",
        "peak memory600.0 MB",
        "loss, predicted2.200 (+10.0 %)",
        "loss, reached2.000",
    ):
        assert said in page.text
    charts = [value for key, value in page.attributes if key == "aria-label"]
    assert any(chart.startswith("Use of the machine by step") for chart in charts)
