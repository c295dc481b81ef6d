"""Notebook 3 in a real browser: its optimizer starts, is held, steered and reset by people's clicks."""

import re

import numpy as np
import pytest
from lab import ROOT, Lab

from shc import config, datasets, stages
from shc.datasets.writing import write_folder
from shc.runs import Run

pytestmark = pytest.mark.browser
STATUS = re.compile(r"step (\d+) \((\w+)\).*smallest distance (\d+) bits (✓ keeps|✗ breaks) the minimum of (\d+)")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab with notebook 3 executed on a run of twelve classes, after notebooks 1 and 2."""
    drawings = datasets.load("emoji", scale=0.02, size=16)
    rows = np.flatnonzero(drawings.labels.numpy() < 12)
    pictures, run = tmp_path_factory.mktemp("pictures"), Run(tmp_path_factory.mktemp("tiny"))
    write_folder(drawings, pictures, rows)
    images = stages.start(run, config.Data("image_folder", root=str(pictures), size=16))
    for _ in stages.train_classifier(run, images, config.ClassifierConfig(epochs=1, batch=64, device="cpu")):
        pass
    stages.class_similarity(run, images, config.SimilarityConfig())
    with Lab(tmp_path_factory.mktemp("lab"), seconds=120) as lab:
        lab.copy(ROOT / "notebooks" / "03_hash_centers.ipynb", run=str(run.path), bits=16, live=True)
        lab.open("03_hash_centers.ipynb")
        lab.run_all()
        yield lab


@pytest.fixture
def page(lab):
    """The page with the controls in view, begun again."""
    press(lab.page, "Reset")
    lab.page.wait_for_function("() => /step 0 \\(start\\)/.test(document.body.innerText)")
    return lab.page


def press(page, name):
    page.locator("button.jupyter-button", has_text=re.compile(f"^{name}$")).click()


def status(page):
    """Step, stage, smallest distance, whether the minimum is kept, and the minimum, as the page tells them."""
    found = STATUS.search(page.locator(".widget-html-content", has_text=STATUS).inner_text())
    step, stage, smallest, kept, wanted = found.groups()
    return int(step), stage, int(smallest), kept == "✓ keeps", int(wanted)


def picture(page):
    """Address of the picture below the status, which is another one for every frame."""
    return page.locator(".widget-image:below(button:has-text('Compare'))").first.get_attribute("src")


def until(page, holds, seconds=20):
    """Wait until the status is as wanted; returns it."""
    for _ in range(seconds * 10):
        if holds(now := status(page)):
            return now
        page.wait_for_timeout(100)
    raise AssertionError(f"after {seconds} s the page still says {status(page)}")


def test_pause_holds_the_optimizer_and_start_goes_on(lab, page):
    first = picture(page)
    press(page, "Start")
    until(page, lambda now: now[0] >= 5)
    press(page, "Pause")
    page.wait_for_timeout(1000)  # the step that it was at, and its picture
    held, shown = status(page), picture(page)
    assert held[1] != "done" and shown != first
    page.wait_for_timeout(1000)
    assert status(page) == held and picture(page) == shown
    press(page, "Step")
    assert until(page, lambda now: now[0] > held[0])[0] == held[0] + 1
    press(page, "Start")
    until(page, lambda now: now[0] > held[0] + 3)
    lab.shot("03_running", page.locator(".widget-vbox:has(button:has-text('Compare'))").first)
    press(page, "Pause")


def test_the_slider_acts_on_the_running_optimizer(page):
    wanted = status(page)[4]
    press(page, "Start")
    until(page, lambda now: now[0] >= 3)
    handle = page.locator(".widget-slider", has_text="min. distance").locator(".noUi-handle")
    handle.focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    lower = until(page, lambda now: now[4] < wanted)
    assert lower[1] != "done"
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    until(page, lambda now: now[4] > lower[4])
    press(page, "Pause")


def test_nothing_went_wrong_and_nothing_was_asked_of_others(lab):
    assert lab.errors == [] and lab.outside == []
