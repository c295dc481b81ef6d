import base64
import hashlib
import json
import re
from urllib.parse import urlsplit

import fake_notebooks as fake
import pytest
from PIL import Image
from web_page import Page

from shc import figures, report, report_page
from shc.pipeline import SEQUENCE, notebooks_folder
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
    Image.new("RGB", (768, 256)).save(run.path / "figures" / "centers.png")
    (run.path / "figures" / "centers.txt").write_text(f"centers of {HOSTILE}")
    Image.new("RGB", (256, 256)).save(run.path / "figures" / "plain.png")
    run.add_results(
        summary=f"mAP of {HOSTILE}",
        headlines={"00_tour": HOSTILE},
        table=[["centers", "mAP@ALL", HOSTILE], ["semantic", 0.41234, 1], [HOSTILE, 0.3, "x"]],
        made_with={"device": HOSTILE},
    )
    run.add_parameters("data", {"data": HOSTILE, "scale": 0.5})
    return run


def picture(run, name, alt="a picture", width=768, height=256):
    """A figure of the run."""
    Image.new("RGB", (width, height)).save(run.path / "figures" / f"{name}.png")
    (run.path / "figures" / f"{name}.txt").write_text(alt)


def in_order(text, *parts):
    """Whether the parts stand in the text in this order."""
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def test_the_index_fetches_nothing_and_runs_only_its_own_script(run):
    text = report.write_report(run).read_text()
    page = Page(text)
    assert page.fetched == [] and page.handlers == [] and page.tags.count("script") == 1
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in text
    assert script == report_page.data_file("report.js") and len(script.splitlines()) <= 60


def test_every_link_of_every_page_leads_somewhere(run):
    folder = run.path / "notebooks"
    cells = [
        fake.markdown(
            "# 1 · Train\n\n[back](00_tour.ipynb#Title) [on](./00_tour.ipynb) [later](08_your_own_images.ipynb)"
        ),
        fake.markdown(
            "[data](../params.yaml) [readme](../README.md) [web](https://example.org) [here](#Title)\n\n# Title"
        ),
        fake.code('run.save_figure(figure, "01_training")', fake.picture("t")),
    ]
    fake.write(folder / "01_classifier.ipynb", fake.notebook(*cells))
    picture(run, "01_training")
    report.write_report(run)
    linked = set()
    for file in (run.path / "index.html", folder / "00_tour.html", folder / "01_classifier.html"):
        for link in Page(file.read_text()).links:
            address = urlsplit(link)
            if address.scheme == "https":
                continue
            target = (file.parent / address.path) if address.path else file
            assert target.exists(), f"{file.name}: {link}"
            assert not address.fragment or f'id="{address.fragment}"' in target.read_text(), f"{file.name}: {link}"
            linked.add((file.name, link))
    train = "01_classifier.html"
    assert {(train, "00_tour.html#Title"), (train, "00_tour.html"), (train, "../index.html")} < linked
    assert {("index.html", "notebooks/01_classifier.html#01_training"), ("00_tour.html", train)} < linked
    assert '<span title="not part of this run">later</span>' in (folder / train).read_text()


def test_the_index_follows_the_notebooks(run):
    for name, title in (("05_retrieval", "# 5 · *Retrieval*"), ("01_classifier", "no heading")):
        fake.write(run.path / "notebooks" / f"{name}.ipynb", fake.notebook(fake.markdown(title)))
    for name in ("05_worst", "05_retrieval", "01_confusion"):
        picture(run, name, f"picture {name}")
    text = report.write_report(run).read_text()
    assert in_order(text, "mAP of", "0.412", "picture 05_retrieval", "Notebooks</h2>", ">Title</a>", HOSTILE[-5:-1])
    assert in_order(
        text, "Pictures</h2>", "<h3>01_classifier</h3>", "01_confusion", "<h3>5 · Retrieval</h3>", "05_worst"
    )
    assert in_order(text, "05_worst", "<h3>More</h3>", "centers of", "How it was made", "scale 0.5")
    assert text.count("picture 05_retrieval</figcaption>") + text.count("picture 05_retrieval <a") == 1


def test_pictures_are_shown_at_the_size_they_were_drawn_for(run):
    """So that words in a picture are as large as words in any other, whatever its resolution."""
    for name, inches in (("00_a", 4), ("00_b", 9.2), ("00_c", 11.5)):
        run.save_figure(figures.new_figure(inches, 1.5, alt=name)[0], name)
    picture(run, "00_d", "no resolution", 256)
    text = report.write_report(run).read_text()
    found = dict(re.findall(r'<img alt="([\w ]+)"[^>]+style="width:calc\((\d+)px', text))
    assert found.items() >= {"00_a": "400", "00_b": "920", "00_c": "1150", "no resolution": "256"}.items(), found


def test_the_index_shows_numbers_and_pictures(run):
    text = report.write_report(run).read_text()
    assert Page(text).alts == [f"centers of {HOSTILE}", "plain"]
    assert '<td class="number">0.412</td>' in text and '<th class="number" scope="col">mAP@ALL</th>' in text
    assert "<td>semantic</td>" in text


@pytest.mark.parametrize(("data", "credited"), [("emoji", True), ("fashion_mnist", False)])
def test_drawings_are_credited_where_they_are_shown(run, data, credited):
    run.add_parameters("data", {"data": data})
    fake.write(run.path / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.code("load('cifar10')")))
    fake.write(
        run.path / "notebooks" / "00_tour.ipynb", fake.notebook(fake.code('shc.datasets.load("emoji", size=64)'))
    )
    assert (report.CREDIT in report.write_report(run).read_text()) is credited
    tour, train = ((run.path / "notebooks" / f"{name}.html").read_text() for name in ("00_tour", "01_classifier"))
    assert report.CREDIT in tour and report.CREDIT not in train


def test_values_that_are_missing_read_well(run):
    table = [["centers", "mAP", "images"], ["a", float("nan"), 45000], ["b", -0.5, None], ["c", 1e-6, 3]]
    run.add_results(table=table)
    text = report.write_report(run).read_text()
    gap = '<td class="number" title="no value">–</td>'
    assert f'<td>a</td>{gap}<td class="number">45,000</td>' in text and f">−0.500</td>{gap}" in text
    assert ">1.0e-06<" in text and "nan" not in re.sub("data:[^\"']*|<script.*?</script>", "", text, flags=re.DOTALL)


def test_tables_of_notebooks_read_well(run):
    import pandas as pd

    frame = pd.DataFrame({"mAP": [0.5, float("nan")], "note": [None, "no"]}, index=pd.Index(["x", "y"], name="method"))
    shown = {"output_type": "display_data", "metadata": {}, "data": {"text/html": frame.to_html()}}
    file = fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(fake.code("frame", shown)))
    table = re.search("<table.*</table>", report.render(file), re.DOTALL)[0]
    cells = re.findall(r"<(t[hd])( class=\"number\")?[^>]*>([^<]*)</t[hd]>", table)
    assert [(number != "", text) for _, number, text in cells] == [
        (False, "method"), (True, "mAP"), (False, "note"),
        (False, "x"), (True, "0.5"), (False, "–"), (False, "y"), (True, "–"), (False, "no"),
    ]  # fmt: skip
    assert "border=" not in table and "style=" not in table


def test_inputs_fold_and_hidden_ones_are_folded(run):
    hidden = fake.code("answer = 42")
    hidden["metadata"]["jupyter"] = {"source_hidden": True}
    cells = [fake.code("if a < b:\n    pass"), hidden, fake.code("")]
    text = report.render(fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(*cells)))
    folds = re.findall(r'<details class="code"(.*?)>\n<summary>(.*?)</summary>', text, re.DOTALL)
    assert [state for state, _ in folds] == [' open=""', ""]
    assert "<code>if a &lt; b:</code>" in folds[0][1] and "2 lines" in folds[0][1] and "1 line<" in folds[1][1]


def test_pictures_from_the_web_are_told_by_their_texts(run):
    badge = fake.markdown(
        "[![Open in Colab](https://example.org/badge.svg)](https://example.org/open) ![gone](gone.png)"
    )
    page = Page(text := report.render(fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(badge))))
    assert page.fetched == [] and "https://example.org/open" in page.links and ">Open in Colab</a> gone" in text


@pytest.mark.parametrize("name", SEQUENCE)
def test_the_notebooks_hold_no_tex(name):
    """Pages would show it as it is written: they have no MathJax, which comes from the web."""
    for cell in report.read_notebook(notebooks_folder() / f"{name}.ipynb")["cells"]:
        prose = re.sub(r"```.*?```|`[^`]*`", "", "".join(cell["source"]), flags=re.DOTALL)
        tex = re.findall(r"(?<!\\)\$[^$]+\$|\\\(|\\\[|\\begin\{", prose)
        assert cell["cell_type"] != "markdown" or not tex, f"{tex}: use Unicode, as in h ∈ {{−1, +1}}ᴷ"


def test_what_others_wrote_is_escaped(run):
    index, page = report.write_report(run).read_text(), (run.path / "notebooks" / "00_tour.html").read_text()
    for text in (index, page):
        assert "<script>alert" not in text and "<img src=x" not in text
    assert index.count("&lt;script&gt;alert") >= 7
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
    assert "<h2>Numbers" not in text and 'class="lead"' not in text and "notebooks/00_tour.html" in text


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


def test_the_glossary_that_every_notebook_links_to_gets_a_page(run):
    tour = run.path / "notebooks" / "00_tour.ipynb"
    fake.write(tour, fake.notebook(fake.markdown("# Tour\n\n[Contents and glossary](contents.ipynb)")))
    text = report.write_report(run).read_text()
    assert text.count('href="notebooks/contents.html"') == 1
    assert '<a href="contents.html">Contents and glossary</a>' in tour.with_suffix(".html").read_text()
    assert "Hamming distance" in (run.path / "notebooks" / "contents.html").read_text()


def test_the_bar_of_links_in_a_notebook_gives_way_to_the_pages_own(run):
    tour = run.path / "notebooks" / "00_tour.ipynb"
    bar = "← [former one](02.ipynb) | [Contents and glossary](contents.ipynb) | [b](01_classifier.ipynb) →"
    text = f"# Tour\n\n{bar}\n\nSee the [glossary](contents.ipynb) and [b](01_classifier.ipynb)."
    fake.write(tour, fake.notebook(fake.markdown(text)))
    report.write_report(run)
    page = tour.with_suffix(".html").read_text()
    assert "former one" not in page and "See the" in page
    assert page.count('<a href="contents.html">Glossary</a>') == 2, "above and below"


def test_a_picture_of_a_hostile_name_cannot_leave_its_link(run):
    """A run that somebody sent: the name of a file and the cell that saves it were chosen together."""
    name = '01_x"onmouseover="alert(1)'
    cells = [fake.code(f'run.save_figure(figure, "{name}")', fake.picture("t"))]
    fake.write(run.path / "notebooks" / "01_classifier.ipynb", fake.notebook(*cells))
    picture(run, name)
    page = Page(report.index(run, {"01_classifier": fake.notebook(*cells)}))
    assert page.handlers == []


def test_pictures_that_are_links_are_left_out(run, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret of somebody")
    (tmp_path / "secret.txt").write_text("words of somebody")
    (run.path / "figures" / "linked.png").symlink_to(tmp_path / "secret.png")
    picture(run, "own")
    (run.path / "figures" / "own.txt").unlink()
    (run.path / "figures" / "own.txt").symlink_to(tmp_path / "secret.txt")
    text = report.index(run, {})
    assert base64.b64encode(b"secret of somebody").decode() not in text and "words of somebody" not in text


def test_a_picture_that_is_none_is_named(run):
    (run.path / "figures" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(RunError, match=r"broken\.png is no PNG .*delete it, then repeat `shc report`"):
        report.index(run, {})
