"""The report in a real browser: nothing is fetched, nothing complains, and it fits a phone."""

import pytest

from peluche.hub.run import RunDirectory
from peluche.reporting.report import write_report

LONG = "sentence" * 20 + " and more words" * 10

pytestmark = pytest.mark.browser


@pytest.fixture
def page_url(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {"name": LONG, "anything": LONG})
    run.log({"event": "machine", "machine": LONG})
    run.log({"event": "phase", "name": LONG, "seconds": 1})
    run.log({"event": "start", "step": 0, "total": 60})
    for step in (20, 40):
        figures = {"loss": 60 / step, "rate": 0.001, "tokens": 2000, "seconds": 2.0}
        run.log({"event": "step", "step": step, "epoch": 0, **figures})
        scores = {"loss": 1.5, "perplexity": 3.0, "bleu": 50.0}
        run.log({"event": "evaluate", "step": step, **scores, "samples": [[LONG, LONG]]})
    run.log({"event": "stop", "reason": LONG})
    examples = [{"source": LONG, "reference": LONG, "output": f"{LONG} more"}]
    return write_report(run, examples=examples).as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1200, "light")])
def test_opens_without_complaint_and_fits(browser, page_url, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_url)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("svg.chart").count() == 5
    assert requests == [page_url]
    assert complaints == []
    page.close()
