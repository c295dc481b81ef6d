"""A run's pages, opened from file:// in a real browser."""

from base64 import b64decode

import chromium
import fake_notebooks as fake
import pytest

from shc import report
from shc.runs import Run

pytestmark = pytest.mark.browser

FRAME = """<style scoped>.dataframe thead th { text-align: right }</style><table border="1" class="dataframe">
<thead><tr style="text-align: right;"><th></th><th>mAP</th><th>note</th></tr><tr><th>method</th><th></th><th></th></tr>
</thead><tbody><tr><th>shc</th><td>0.5</td><td>a</td></tr><tr><th>csq</th><td>NaN</td><td>None</td></tr></tbody></table>"""
HOSTILE = (
    "<script>window.ran = 1</script><svg onload='window.ran = 2'></svg><img src='https://example.org/a.png' alt='far'>"
    "<iframe src='https://example.org/b'></iframe><style>p { background: url(https://example.org/c.png) }</style>"
)


def html_output(text):
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": text, "text/plain": "table"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three notebooks and three pictures, with its report."""
    run = Run(tmp_path_factory.mktemp("runs") / "small")
    picture = fake.picture("a point")
    tour = [
        fake.markdown("# 0 · The tour\n\nSee *[the next](01_classifier.ipynb)*, `code` and $x^2$.\n\n> Quoted"),
        fake.code('folder.save_figure(draw("x"), "00_tour")  # a comment', picture, count=1),
        fake.code("import math\n\nfor i in range(3):\n    print(i)", fake.stream("0\n1\n2"), count=2),
        fake.code("1 / 0", fake.stream("a warning", "stderr"), html_output(FRAME), count=3),
        fake.code("x = '" + "long " * 40 + "'", fake.stream("wide " * 60), count=4),
    ]
    folder = run.path / "notebooks"
    fake.write(folder / "00_tour.ipynb", fake.notebook(*tour))
    fake.write(folder / "01_classifier.ipynb", fake.notebook(fake.markdown("# 1 · Train"), fake.code("x", picture)))
    fake.write(folder / "05_retrieval.ipynb", fake.notebook(fake.markdown("# 5 · Retrieval")))
    (run.path / "figures").mkdir()
    for name in ("00_tour", "01_training", "05_retrieval"):
        (run.path / "figures" / f"{name}.png").write_bytes(b64decode(fake.PNG))
        (run.path / "figures" / f"{name}.txt").write_text(f"picture {name}")
    table = [["centers", "mAP", "images"], ["none", float("nan"), 1000], ["semantic", 0.5, 9], ["random", 0.25, 45000]]
    run.add_results(summary="mAP 0.5", headlines={"00_tour": "8 centers"}, table=table, made_with={"device": "2 cores"})
    run.add_parameters("data", {"data": "emoji", "scale": 1.0})
    report.write_report(run)
    return run


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as browser:
        yield browser


@pytest.fixture
def opened(browser, run):
    """Function that opens a page of the run; at the end nothing was fetched from outside, and nothing complained."""
    contexts, complaints = [], []

    def opened(name="index.html", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or complaints.append(r.url))
        page.goto((run.path / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints, complaints


PAGES = ("index.html", "notebooks/00_tour.html", "notebooks/01_classifier.html", "notebooks/05_retrieval.html")
focused = "document.activeElement.getAttribute('href')"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("screen", [(1280, 1), (360, 2)], ids=["desktop", "phone"])
def test_every_picture_is_there_and_nothing_sticks_out(opened, name, screen):
    page = opened(name, viewport={"width": screen[0], "height": 800}, device_scale_factor=screen[1])
    assert page.evaluate("[...document.querySelectorAll('main img')].every((i) => i.naturalWidth > 0 && i.alt)")
    assert page.locator("main img").count() == {"i": 3, "n": int("05" not in name)}[name[0]]
    assert page.evaluate("document.documentElement.scrollWidth") <= screen[0]
    assert page.evaluate("['main', 'header', 'h1'].map((tag) => document.querySelectorAll(tag).length)") == [1, 1, 1]


def test_tab_reaches_every_notebook_and_shows_where_it_is(opened):
    page, seen = opened(), []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", seen[-1]
        if seen[-1] == "notebooks/05_retrieval.ipynb":
            break
    assert seen[0] == "#notebooks"  # the way past everything else
    listed = [address for address in seen if address and address.endswith(".html")]
    wanted = [f"notebooks/{name}.html" for name in ("contents", "00_tour", "01_classifier", "05_retrieval")]
    assert listed == [wanted[-1], *wanted]  # the first is in the caption of the picture that opens the page


def test_the_skip_link_leads_past_the_pictures(opened):
    page = opened()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "notebooks/contents.html"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # past its file
    assert page.evaluate(focused) == "notebooks/00_tour.html"
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks/00_tour.html")
    assert page.locator("h1").inner_text() == "0 · The tour"


def test_a_click_or_enter_on_a_head_sorts(opened):
    page = opened()
    first, head = page.locator("td:nth-child(1)"), page.locator("th", has_text="mAP")
    rows = lambda: [text for text in first.all_inner_texts() if text != "data"]
    head.get_by_role("button").click()
    assert (rows(), head.get_attribute("aria-sort")) == (["semantic", "random", "none"], "descending")
    page.keyboard.press("Enter")
    assert (rows(), head.get_attribute("aria-sort")) == (["random", "semantic", "none"], "ascending")  # no value: last
    page.get_by_role("button", name="images").click()
    assert rows() == ["random", "none", "semantic"] and head.get_attribute("aria-sort") is None
    page.get_by_role("button", name="centers").click()
    assert rows() == ["none", "random", "semantic"]


def test_a_notebooks_table_has_one_row_of_heads_and_sorts(opened):
    page = opened("notebooks/00_tour.html")
    assert page.locator("thead th").all_inner_texts() == ["method", "mAP", "note"]
    assert page.locator("tbody td").all_inner_texts() == ["0.5", "a", "–", "–"]
    page.get_by_role("button", name="method").click()
    assert page.locator("tbody th").all_inner_texts() == ["csq", "shc"]


def test_a_picture_opens_over_the_page(opened):
    page = opened()
    box, big = page.locator("dialog"), page.locator("dialog img")
    page.get_by_role("button", name="picture 00_tour").focus()
    page.keyboard.press("Enter")
    assert box.is_visible() and big.get_attribute("alt") == "picture 00_tour"
    page.keyboard.press("ArrowRight")
    assert big.get_attribute("alt") == "picture 01_training"
    page.keyboard.press("ArrowRight")  # round the end
    assert big.get_attribute("alt") == "picture 05_retrieval"
    page.keyboard.press("ArrowLeft")
    assert big.get_attribute("alt") == "picture 01_training" and big.evaluate("(i) => i.naturalWidth") > 0
    page.keyboard.press("Escape")
    assert not box.is_visible()
    page.wait_for_function("document.activeElement.firstChild?.alt == 'picture 01_training'")  # the last one
    page.get_by_role("button", name="picture 05_retrieval").click()
    assert box.is_visible() and page.locator("dialog p").inner_text() == "picture 05_retrieval"
    page.get_by_role("button", name="Close").click()
    assert not box.is_visible()


def test_a_caption_leads_to_the_cell_that_drew_the_picture(opened):
    page = opened()
    page.get_by_role("link", name="the cell in 0 · The tour").click()
    page.wait_for_url("**/notebooks/00_tour.html#00_tour")
    cell = page.locator(".cell", has=page.locator(":target"))
    assert "save_figure" in cell.inner_text() and cell.locator("img").count() == 1


def test_one_button_folds_all_code_and_every_cell_folds_alone(opened):
    page = opened("notebooks/00_tour.html")
    button, code = page.locator(".fold"), page.locator(".code pre")
    shown = lambda: [code.nth(at).is_visible() for at in range(code.count())]
    assert shown() == [True] * 4 and button.inner_text() == "Hide all code"
    button.click()
    assert shown() == [False] * 4 and page.locator("pre.printed").first.is_visible()
    assert "import math" in page.locator("summary").nth(1).inner_text()
    page.wait_for_function("document.querySelector('.fold').textContent === 'Show all code'")
    page.locator("summary").nth(1).focus()
    page.keyboard.press("Enter")
    assert shown() == [False, True, False, False]
    page.wait_for_function("document.querySelector('.fold').textContent === 'Hide all code'")


def test_notebooks_lead_to_each_other_and_back(opened):
    page = opened("notebooks/00_tour.html")
    page.get_by_role("link", name="the next").click()
    page.wait_for_url("**/01_classifier.html")
    page.locator("header [rel=next]").click()
    page.wait_for_url("**/05_retrieval.html")
    page.get_by_role("link", name="Contents").first.click()
    page.wait_for_url("**/index.html")


CONTRAST = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => parts(color).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const color = getComputedStyle(e).backgroundColor;
    return parts(color)[3] === 0 ? behind(e.parentElement) : color;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, e] = [walker.currentNode.textContent.trim(), walker.currentNode.parentElement];
    if (!text || !e.checkVisibility() || e.tagName === "SCRIPT") continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES[:2])
def test_text_can_be_read_in_both_themes(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 80")
    found = page.evaluate(CONTRAST)
    assert dark == (scheme == "dark") and len(found) > 30
    assert min(found)[0] >= 4.5, min(found)
    assert page.evaluate("getComputedStyle(document.querySelector('main img')).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("name", PAGES[:2])
def test_without_script_the_page_is_plain_and_complete(opened, name):
    page = opened(name, java_script_enabled=False)
    assert page.locator("button").count() == 0 and page.locator("main img").first.is_visible()
    assert page.locator("th", has_text="mAP").is_visible()
    assert all(code.is_visible() for code in page.locator(".code pre").all())


def test_what_an_output_contains_neither_runs_nor_fetches(browser, run, tmp_path):
    """Not through `opened`: the browser says in its console what it refused."""
    file = fake.write(tmp_path / "notebooks" / "00_tour.ipynb", fake.notebook(fake.code("x", html_output(HOSTILE))))
    target = file.with_suffix(".html")
    target.write_text(report.render(file), encoding="utf-8")
    page, fetched = browser.new_page(), []
    page.on("response", lambda response: fetched.append(response.url))
    page.goto(target.as_uri())
    assert page.evaluate("window.ran") is None and fetched == [target.as_uri()]
    assert "far" in page.locator("main").inner_text()  # a picture on the web is told by its alternative text
    page.close()


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_only_ci_insists_on_a_browser(monkeypatch, required, outcome):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setenv("SHC_REQUIRE_BROWSER", required)
    with pytest.raises(outcome, match="apt install chromium"):
        chromium.executable()
