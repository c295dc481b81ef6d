"""Notebooks in a real browser: JupyterLab is started, the notebook opened and run, and people's clicks are made.

What the page shows is compared with what Python computes here. Pictures for people to look at are kept in
$SHC_SCREENSHOTS, or in pytest's temporary folder.
"""

import re

import numpy as np
import pytest
from lab import ROOT, Lab

from shc import config, stages
from shc.runs import Run
from shc.search import HammingIndex

pytestmark = pytest.mark.browser
NEIGHBORS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of little data with semantic and random centers: all that notebook 05 reads."""
    run = Run(tmp_path_factory.mktemp("tiny"))
    data, short = config.Data(scale=0.02, size=16), dict(epochs=1, batch=64, device="cpu")
    stages.run_all(
        run, data, config.ClassifierConfig(**short), config.CentersConfig(bits=16), config.HasherConfig(**short)
    )
    return run


@pytest.fixture(scope="module")
def lab(run, tmp_path_factory):
    """JupyterLab with notebook 05 executed on the tiny run."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        lab.copy(ROOT / "notebooks" / "05_retrieval.ipynb", run=str(run.path), neighbors=NEIGHBORS, live=True)
        lab.open("05_retrieval.ipynb")
        lab.run_all()
        yield lab


@pytest.fixture
def page(lab):
    """The page with the explorer in view, as it is at the beginning: nearest neighbors, no filter."""
    lab.page.locator(".shc-explorer").scroll_into_view_if_needed()
    if lab.page.locator('.shc-explorer [value="within"]').is_checked():
        answered(lab.page, lab.page.locator('.shc-explorer [value="nearest"]').check)
    return lab.page


@pytest.fixture(scope="module")
def codes(run):
    return stages.load_codes(run, stages.images_of(run))


@pytest.fixture(scope="module")
def index(codes):
    index = HammingIndex.open("memory:")
    index.add(codes["database"])
    return index


def answered(page, action):
    """Do something, and wait until the explorer has shown the answer."""
    before = page.locator(".shc-explorer").get_attribute("data-answers") or "0"
    action()
    page.wait_for_function(
        "before => +document.querySelector('.shc-explorer').dataset.answers > before", arg=int(before)
    )


def neighbors(page):
    """Rows and distances that are shown, from the page's elements."""
    cards = "[...document.querySelectorAll('.shc-explorer .neighbors li')]"
    found = page.evaluate(f"() => {cards}.map(card => [+card.dataset.row, +card.dataset.bits])")
    texts = page.locator(".shc-explorer .far").all_inner_texts()
    assert [int(re.search(r"\d+", text)[0]) for text in texts] == [bits for _, bits in found]
    return found


def expected(index, code, **how):
    found = index.search(code[None], **how)
    return np.stack([found.ids.ravel(), found.distances.ravel()], 1).tolist()


def set_radius(page, radius):
    answered(page, lambda: page.get_by_label("radius in bits").fill(str(radius)))


def click_query(page, place):
    """Click a thumbnail; the row of its query."""
    item = page.locator(".shc-explorer .sheet button").nth(place)
    answered(page, item.click)
    assert item.get_attribute("aria-selected") == "true"
    return int(item.get_attribute("data-row"))


def test_a_click_shows_the_neighbors_that_search_returns(lab, page, codes, index):
    shown = []
    for place in (5, 2):
        row = click_query(page, place)
        shown.append(neighbors(page))
        assert shown[-1] == expected(index, codes["query"][row], k=NEIGHBORS)
        assert page.locator(".shc-explorer .query strong").inner_text().startswith(f"query {row}: ")
    assert shown[0] != shown[1]
    lab.shot("05_explorer", page.locator(".shc-explorer"))


def test_a_toggled_bit_changes_the_distances_by_it(lab, page, codes, index):
    code = codes["query"][click_query(page, 3)].copy()
    answered(page, page.locator('.shc-explorer [value="within"]').check)
    set_radius(page, len(code))  # everything
    before = expected(index, code, radius=len(code))
    assert neighbors(page) == before[: len(neighbors(page))]
    for bit in (4, 11):
        answered(page, page.locator(f'.shc-explorer [data-bit="{bit}"]').click)
        code[bit] *= -1
        after = neighbors(page)
        assert after == expected(index, code, radius=len(code))[: len(after)]
        old = dict(before)
        same = codes["database"][[row for row, _ in after], bit] == code[bit]
        assert [bits - old[row] for row, bits in after] == np.where(same, -1, 1).tolist()
        before = expected(index, code, radius=len(code))
    differing = page.locator(".shc-explorer .neighbors li").first.locator(".differs").count()
    assert differing == after[0][1], "as many bits are marked as differ"
    lab.shot("05_explorer_flipped", page.locator(".shc-explorer"))
    answered(page, page.get_by_text("Reset code").click)
    assert page.get_by_text("Reset code").is_disabled() and not page.locator(".shc-explorer .bits .differs").count()


def test_the_radius_shows_the_ball_and_tells_its_size(page, codes, index):
    code = codes["query"][click_query(page, 0)]
    for radius in (2, 5):
        set_radius(page, radius)
        ball = expected(index, code, radius=radius)
        assert neighbors(page) == ball[:24]
        told = page.locator(".shc-explorer .status").inner_text()
        assert f"; {len(ball):,} image{'s' * (len(ball) != 1)} within {radius} bits" in told or not ball
    assert len(ball) > 24, "the ball has a second page"
    answered(page, page.get_by_label("next page of neighbors").click)
    assert neighbors(page) == ball[24:48]


def test_filters_choose_the_queries_of_the_sheet(page, run):
    images = stages.images_of(run)

    def names():
        return {image.get_attribute("alt") for image in page.locator(".shc-explorer .sheet img").all()}

    select = page.locator('.shc-explorer select[data-name="super-class"]')
    assert len(names()) > 5
    answered(page, lambda: select.select_option(index=2))
    group = select.evaluate("box => box.selectedOptions[0].text").rpartition(" (")[0]
    tree = images.hierarchy
    inside = {
        name for name, g in zip(images.class_names, tree.group_ids(), strict=True) if tree.group_names()[g] == group
    }
    assert names() and names() <= inside
    answered(page, lambda: page.locator('.shc-explorer select[data-name="queries of"]').select_option("val"))
    assert names() <= inside, "the choice stays while the split has such images"
    row = click_query(page, 0)
    assert page.locator(".shc-explorer .query strong").inner_text().startswith(f"val {row}: ")
    answered(page, lambda: select.select_option(index=0))
    answered(page, lambda: page.locator('.shc-explorer select[data-name="queries of"]').select_option("query"))


def test_everything_can_be_reached_by_keyboard(lab, page, codes, index):
    click_query(page, 1)
    cells = page.locator(".jp-Cell").count()
    press, focus = page.keyboard.press, "document.activeElement"
    page.locator('.shc-explorer select[data-name="class"]').focus()
    press("Tab")
    while not page.evaluate(f"{focus}.getAttribute('role') === 'option'"):
        press("Tab")  # past the pager
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "d", "d", "ArrowLeft"):
        press(key)  # d d would delete the cell if JupyterLab heard it
    assert page.evaluate(f"getComputedStyle({focus}).outlineStyle") == "solid", "the focus is seen"
    row = int(page.evaluate(f"{focus}.dataset.row"))
    answered(page, lambda: press("Enter"))
    code = codes["query"][row].copy()
    assert neighbors(page) == expected(index, code, k=NEIGHBORS)
    press("Tab")
    press("ArrowRight")
    assert page.evaluate(f"{focus}.dataset.bit") == "1"
    answered(page, lambda: press("Space"))
    code[1] *= -1
    assert neighbors(page) == expected(index, code, k=NEIGHBORS)
    assert page.evaluate(f"{focus}.getAttribute('aria-label')").endswith("flipped by hand")
    press("Tab")
    answered(page, lambda: press("ArrowRight"))  # from "nearest" to "all within"
    press("Tab")
    answered(page, lambda: press("Home"))
    assert page.locator(".shc-explorer output").inner_text() == "0 bits"
    assert neighbors(page) == expected(index, code, radius=0)[:24]
    assert page.locator(".jp-Cell").count() == cells
    assert page.locator(".shc-explorer [role=status]").inner_text().startswith(f"query {row}: ")


def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_is_readable_in_the_dark_theme(lab, page):
    lab.menu("Settings", "Theme", "JupyterLab Dark")
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_timeout(300)
    ground = page.locator(".shc-explorer").evaluate("box => getComputedStyle(box).backgroundColor")
    assert luminance(ground) < 0.05
    for part in (".status", ".legend", ".query strong", "select", ".name"):
        color = page.locator(f".shc-explorer {part}").first.evaluate("box => getComputedStyle(box).color")
        assert (luminance(color) + 0.05) / (luminance(ground) + 0.05) > 4.5, part
    lab.shot("05_explorer_dark", page.locator(".shc-explorer"))
    lab.menu("Settings", "Theme", "JupyterLab Light")


def test_nothing_went_wrong_and_nothing_was_asked_for_outside(lab):
    assert lab.errors == [] and lab.outside == []


def test_a_busy_kernel_is_told_and_its_late_answer_shown(lab, page, codes, index):
    item = page.locator(".shc-explorer .sheet button").nth(7)
    # a cell that merely runs does not hinder: JupyterLab talks to widgets in a thread of its own; this holds the GIL
    lab.execute("import ctypes; ctypes.PyDLL(None).sleep(4)")
    answers = page.locator(".shc-explorer").get_attribute("data-answers")
    item.click()
    page.locator(".shc-explorer .status", has_text="No answer yet: the kernel is busy, or it is gone").wait_for()
    assert not item.is_enabled() and page.locator(".shc-explorer").get_attribute("data-answers") == answers
    page.wait_for_function("before => document.querySelector('.shc-explorer').dataset.answers !== before", arg=answers)
    assert neighbors(page) == expected(index, codes["query"][int(item.get_attribute("data-row"))], k=NEIGHBORS)
    assert item.is_enabled() and item.evaluate("item => item === document.activeElement")


def test_after_a_restart_the_controls_do_not_pretend(lab, page):
    lab.restart_kernel()
    told = page.locator(".shc-explorer .status", has_text="The kernel is gone: run the cell again")
    told.wait_for(timeout=10_000)
    for control in ("button", "select", "input"):
        assert all(not each.is_enabled() for each in page.locator(f".shc-explorer {control}").all())
    lab.shot("05_explorer_gone", page.locator(".shc-explorer"))
    assert lab.errors == [] and lab.outside == []


def test_a_missing_artifact_is_told_in_the_widget(lab, tmp_path):
    lab.write("missing.ipynb", f"import shc\nshc.explorer.RetrievalExplorer.of_run(shc.runs.Run({str(tmp_path)!r}))")
    page = lab.open("missing.ipynb")
    lab.run_all()
    told = page.locator(".shc-explorer").inner_text()
    assert told.startswith("⚠ ") and "run notebook 01_classifier (or `shc run`) for it first" in told
    assert not page.locator(".shc-explorer fieldset").count() and lab.errors == [] and lab.outside == []
