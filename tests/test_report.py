import html
import json

import fake_notebooks as fake
import pytest
from web_page import Page

from shc import report
from shc.runs import Run, RunError

HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"


@pytest.fixture
def run(tmp_path):
    """A run with one executed notebook, a figure, results and parameters."""
    run = Run(tmp_path / "one")
    cells = [
        fake.markdown("# Title\n\n$x^2$ and [a link](https://example.org)\n\n```mermaid\ngraph TD\n```"),
        fake.code("draw()", fake.picture("first & 'alt'"), fake.picture(), count=1),
        fake.code("print(names)", fake.stream(HOSTILE), fake.picture("third", "execute_result"), count=2),
    ]
    fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(*cells))
    (run.path / "figures").mkdir()
    (run.path / "figures" / "centers.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\3\0\0\0\1\0")
    (run.path / "figures" / "centers.txt").write_text(f"centers of {HOSTILE}")
    (run.path / "figures" / "plain.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\1\0\0\0\1\0")
    run.add_results(
        summary=f"mAP of {HOSTILE}",
        headlines={"00_tour": HOSTILE},
        table=[["centers", "mAP@ALL", HOSTILE], ["semantic", 0.41234, 1], [HOSTILE, 0.3, "x"]],
        made_with={"device": HOSTILE},
    )
    run.add_parameters("data", {"data": HOSTILE, "scale": 0.5})
    return run


def test_the_index_fetches_nothing_and_runs_nothing(run):
    page = Page(report.write_report(run).read_text())
    assert page.fetched == [] and page.handlers == [] and "script" not in page.tags
    assert page.links == ["notebooks/00_tour.html", "notebooks/00_tour.ipynb"]
    for link in page.links:
        assert (run.path / link).exists()


def test_the_index_shows_numbers_pictures_and_how_it_was_made(run):
    text = report.write_report(run).read_text()
    assert Page(text).alts == [f"centers of {HOSTILE}", "plain"]
    assert "<td class='number'>0.412</td>" in text and "scale=0.5" in text and report.CREDIT in html.unescape(text)
    assert text.count("class='wide'") == 1  # 768 × 256; the other is square


def test_what_others_wrote_is_escaped(run):
    index, page = report.write_report(run).read_text(), (run.path / "notebooks" / "00_tour.html").read_text()
    for text in (index, page):
        assert "<script>alert" not in text and "<img src=x" not in text
    assert index.count("&lt;script&gt;alert") >= 6
    assert "&lt;script&gt;alert" in page


def test_a_notebooks_page_fetches_nothing(run):
    report.write_report(run)
    page = Page((run.path / "notebooks" / "00_tour.html").read_text())
    assert page.fetched == []
    assert "https://example.org" in page.links  # a link that the reader may follow is not a request


def test_pictures_keep_their_alternative_texts_in_order(run):
    report.write_report(run)
    page = Page((run.path / "notebooks" / "00_tour.html").read_text())
    assert page.alts == ["first & 'alt'", "figure", "third"]


def test_pictures_inside_html_do_not_shift_the_alternative_texts(run):
    inline = {"output_type": "display_data", "metadata": {}}
    table = inline | {"data": {"text/html": f"<p><img src='data:image/png;base64,{fake.PNG}'></p>", "text/plain": ""}}
    both = inline | {"data": {"text/html": "<b>rich</b>", "image/png": fake.PNG}}
    cells = [fake.code("a", table, both, fake.picture("mine"), count=1)]
    file = fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(*cells))
    assert Page(report.render(file)).alts[-1] == "mine"


def test_widgets_leave_no_state_and_no_request(run):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc"}, "text/plain": "Slider()"}
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"abc": {}}, "version_major": 2}}
    cells = [fake.code("slider", {"output_type": "display_data", "data": view, "metadata": {}}, count=1)]
    file = fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(*cells, widgets=state))
    text = report.render(file)
    assert Page(text).fetched == [] and "widget-state" not in text


def test_a_run_without_notebooks_is_told(tmp_path):
    with pytest.raises(RunError, match="no executed notebooks; make them with `shc run --name one`"):
        report.write_report(Run(tmp_path / "one"))


def test_a_damaged_notebook_is_told(run):
    (run.path / "notebooks" / "00_tour.ipynb").write_text("{")
    with pytest.raises(RunError, match=r"00_tour.ipynb is not a readable notebook"):
        report.write_report(run)


def test_a_run_without_results_still_has_a_page(tmp_path):
    run = Run(tmp_path / "one")
    fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(fake.code("1")))
    text = report.write_report(run).read_text()
    assert "<h2>Retrieval" not in text and "notebooks/00_tour.html" in text


def test_the_extra_is_named_when_it_is_missing(run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nbconvert", None)
    with pytest.raises(RunError, match=r"needs the extra `notebooks`: pip install '.*\[notebooks\]'"):
        report.write_report(run)


def test_executed_notebooks_are_not_changed(run):
    file = run.path / "notebooks" / "00_tour.ipynb"
    before = json.loads(file.read_text())
    report.write_report(run)
    assert json.loads(file.read_text()) == before
