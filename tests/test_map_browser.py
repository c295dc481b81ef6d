"""The heat map of notebook 02 and the maps of notebook 06 in a real browser: what they show is what Python computes."""

import json

import numpy as np
import pytest
from lab import ROOT, Lab
from matplotlib import colormaps
from test_browser import luminance

from shc import config, hamming, stages
from shc.asking import counted
from shc.class_map import ClassMap
from shc.class_plots import lowest_shown
from shc.code_map import CodeMap
from shc.runs import Run

pytestmark = pytest.mark.browser
CODES, PAD = 150, 14  # image codes drawn; pixels around the points, as in code_map.js
HEAT, MAPS = ".shc-class-map", ".shc-code-map"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of little data: all that notebooks 02 and 06 read."""
    run = Run(tmp_path_factory.mktemp("tiny"))
    data, short = config.Data(scale=0.02, size=16), dict(epochs=1, batch=64, device="cpu")
    parts = config.ClassifierConfig(**short), config.CentersConfig(bits=16), config.HasherConfig(**short)
    stages.run_all(run, data, *parts, kinds=("semantic",))
    return run


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


def executed(lab):
    """Execute every cell of the notebook that is open, however long it takes; what follows answers soon."""
    lab.page.set_default_timeout(300_000)
    lab.run_all()
    lab.page.set_default_timeout(15_000)


@pytest.fixture(scope="module")
def heat(lab, run):
    """The page with notebook 02 executed."""
    lab.copy(ROOT / "notebooks" / "02_class_similarity.ipynb", run=str(run.path), live=True)
    page = lab.open("02_class_similarity.ipynb")
    executed(lab)
    page.locator(f"{HEAT} .cells").scroll_into_view_if_needed()
    return page


@pytest.fixture(scope="module")
def maps(lab, run):
    """The page with notebook 06 executed, its last part on as little as it takes."""
    few = dict(frontier_step=64, frontier_seeds=1, frontier_thin=1, device="cpu")
    lab.copy(ROOT / "notebooks" / "06_center_structure.ipynb", run=str(run.path), live=True, map_codes=CODES, **few)
    page = lab.open("06_center_structure.ipynb")
    executed(lab)
    page.locator(f"{MAPS} .dots").scroll_into_view_if_needed()
    return page


def answered(page, root, action):
    """Do something, and wait until the widget has shown the answer."""
    before = int(page.locator(root).get_attribute("data-answers") or "0")
    action()
    page.wait_for_function(f"before => +document.querySelector('{root}').dataset.answers > before", arg=before)


def pixel(page, canvas, x, y):
    """The colour of a canvas, as it is drawn, at a place in pixels of the page."""
    return page.locator(canvas).evaluate(
        """(canvas, [x, y]) => {
          const fine = canvas.width / canvas.clientWidth;
          return [...canvas.getContext("2d").getImageData(x * fine, y * fine, 1, 1).data].slice(0, 3);
        }""",
        [x, y],
    )


def choose(page, root, name, value):
    page.locator(f'{root} select[data-name="{name}"]').select_option(value)


# ------------------------------------------------------------------------------------------ the heat map


@pytest.fixture(scope="module")
def classes(run):
    """What Python has to say: S, distances of the centers, and the widget's orders."""
    S, codes = run.load("similarity")["S"], run.load("centers")["codes"]
    return S, hamming.distance(codes, codes), ClassMap.of_run(run).first["orders"]


def cell(page, order, a, b):
    """Middle of the cell of two classes, in pixels of the canvas."""
    size = page.locator(f"{HEAT} .cells").bounding_box()["width"] / len(order)
    return dict(x=(order.index(b) + 0.5) * size, y=(order.index(a) + 0.5) * size)


def check_pair(page, classes, a, b):
    S, apart, _ = classes
    told = page.locator(HEAT).evaluate("root => ({...root.dataset})")
    assert (int(told["a"]), int(told["b"]), int(told["bits"])) == (a, b, apart[a, b])
    assert float(told["s"]) == pytest.approx(S[a, b])
    assert page.locator(f"{HEAT} .s").inner_text() == f"s = {S[a, b]:.2f}".replace("-", "−")
    assert page.locator(f"{HEAT} .bits").inner_text() == f"{apart[a, b]} of 16 bits apart"


def test_a_click_tells_s_and_distance_and_shows_both_classes(lab, heat, classes, run):
    _, apart, orders = classes
    names = stages.trained_names(stages.images_of(run))
    for a, b in ((7, 60), (60, 7), (12, 12), (99, 3)):
        place = cell(heat, orders["dendrogram"], a, b)
        answered(heat, HEAT, lambda at=place: heat.locator(f"{HEAT} .cells").click(position=at))
        check_pair(heat, classes, a, b)
        shown = [image.get_attribute("alt") for image in heat.locator(f"{HEAT} .images img").all()]
        assert {names[a], names[b]} == set(shown) and len(shown) >= 4
        lists = [heat.locator(f'{HEAT} select[data-name="{name}"]').input_value() for name in ("row", "column")]
        assert lists == [str(a), str(b)]
    assert f"{apart[99, 3]} of 16 bits" in heat.locator(f"{HEAT} .status").inner_text()
    lab.shot("02_heat_map", heat.locator(HEAT))


def test_pointing_shows_a_pair_and_leaving_shows_the_picked_one_again(heat, classes):
    S, apart, orders = classes
    order = orders["dendrogram"]
    answered(heat, HEAT, lambda: choose(heat, HEAT, "row", "20"))
    picked = [heat.locator(HEAT).get_attribute(f"data-{side}") for side in "ab"]
    answered(heat, HEAT, lambda: heat.locator(f"{HEAT} .cells").hover(position=cell(heat, order, 40, 81)))
    words = f"{S[40, 81]:.2f}, {apart[40, 81]} bits".replace("-", "−")
    assert heat.locator(f"{HEAT} .tip").inner_text().endswith(words)
    check_pair(heat, classes, 40, 81)
    answered(heat, HEAT, lambda: heat.locator(f"{HEAT} .s").hover())
    assert [heat.locator(HEAT).get_attribute(f"data-{side}") for side in "ab"] == picked


def test_another_order_keeps_the_pair_and_moves_its_mark(heat, classes):
    S, _, orders = classes
    low = lowest_shown(S)
    answered(heat, HEAT, lambda: heat.locator(f"{HEAT} .cells").click(position=cell(heat, orders["dendrogram"], 5, 90)))
    assert list(orders) == ["dendrogram", "taxonomy", "name"]
    for name in ("taxonomy", "name", "dendrogram"):
        choose(heat, HEAT, "order", name)
        check_pair(heat, classes, 5, 90)
        area, mark = (heat.locator(f"{HEAT} {part}").bounding_box() for part in (".cells", ".mark"))
        middle = [mark[k] - area[k] + mark[size] / 2 for k, size in (("x", "width"), ("y", "height"))]
        assert middle == pytest.approx(list(cell(heat, orders[name], 5, 90).values()), abs=1.5), name
        for a, b in ((5, 90), (33, 34)):
            expected = np.array(colormaps["cividis"](int(np.round(255 * max(S[a, b] - low, 0) / (1 - low))))[:3]) * 255
            found = pixel(heat, f"{HEAT} .cells", *cell(heat, orders[name], a, b).values())
            assert np.abs(found - expected).max() <= 1.5, "the color of s"


def test_the_heat_map_can_show_the_centers(heat, classes):
    S, apart, orders = classes
    low = lowest_shown(S)
    choose(heat, HEAT, "colors", "centers")
    level = int(np.floor(255 * max(1 - 2 * apart[5, 90] / 16 - low, 0) / (1 - low) + 0.5))
    expected = np.array(colormaps["cividis"](level)[:3]) * 255
    found = pixel(heat, f"{HEAT} .cells", *cell(heat, orders["dendrogram"], 5, 90).values())
    assert np.abs(found - expected).max() <= 1.5
    choose(heat, HEAT, "colors", "S")


def test_the_heat_map_goes_by_keyboard(heat, classes):
    order = classes[2]["dendrogram"]
    cells = heat.locator(".jp-Cell").count()
    a, b = order[10], order[50]
    answered(heat, HEAT, lambda: heat.locator(f"{HEAT} .cells").click(position=cell(heat, order, a, b)))
    heat.locator(f"{HEAT} .s").hover()  # the pointer is out of the way
    heat.locator(f"{HEAT} [data-jump]").last.focus()
    heat.keyboard.press("Tab")
    assert heat.evaluate("document.activeElement.className") == "cells"
    for key, (row, column) in dict(
        ArrowDown=(11, 50), ArrowRight=(11, 51), ArrowUp=(10, 51), ArrowLeft=(10, 50)
    ).items():
        answered(heat, HEAT, lambda key=key: heat.keyboard.press(key))
        check_pair(heat, classes, order[row], order[column])
    for key in "ddx":
        heat.keyboard.press(key)  # JupyterLab would delete cells
    answered(heat, HEAT, lambda: heat.locator(f'{HEAT} [data-jump="most unlike"]').press("Enter"))
    off = classes[0][np.triu_indices(100, 1)]
    assert float(heat.locator(HEAT).get_attribute("data-s")) == pytest.approx(off.min())
    assert heat.locator(".jp-Cell").count() == cells


def test_the_heat_map_is_readable_in_the_dark_theme(lab, heat):
    choose(heat, HEAT, "order", "taxonomy")  # super-classes stand together, and are named
    check_dark(lab, heat, HEAT, (".status", ".words span", ".face strong", ".bits", "select", ".jumps"))
    lab.shot("02_heat_map_dark", heat.locator(HEAT))
    lab.menu("Settings", "Theme", "JupyterLab Light")
    assert lab.errors == [] and lab.outside == []


def check_dark(lab, page, root, parts):
    lab.menu("Settings", "Theme", "JupyterLab Dark")
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_timeout(300)
    ground = luminance(page.locator(root).evaluate("box => getComputedStyle(box).backgroundColor"))
    assert ground < 0.05
    for part in parts:
        color = page.locator(f"{root} {part}").first.evaluate("box => getComputedStyle(box).color")
        assert (luminance(color) + 0.05) / (ground + 0.05) > 4.5, part


# ------------------------------------------------------------------------------------------ linked maps


@pytest.fixture(scope="module")
def made(run):
    """The same maps, made here: their places are those of the notebook's."""
    rows = np.random.default_rng(0).permutation(len(stages.load_codes(run, stages.images_of(run))["query"]))[:CODES]
    return CodeMap.of_run(run, split="query", rows=rows)


@pytest.fixture(scope="module")
def places(made):
    """float32 [C + N, 2] of the map that is shown first, classical MDS."""
    return np.frombuffer(made.first["places"]["Classical MDS"], "<f4").reshape(-1, 2)


def on_map(page, place):
    """A place of the unit square in pixels of the map."""
    return PAD + np.asarray(place, float) * (page.locator(f"{MAPS} .dots").bounding_box()["width"] - 2 * PAD)


def drag(page, start, end):
    page.locator(f"{MAPS} .dots").scroll_into_view_if_needed()
    area = page.locator(f"{MAPS} .dots").bounding_box()
    (x0, y0), (x1, y1) = (on_map(page, place) + np.array([area["x"], area["y"]]) for place in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1, y1)
    page.mouse.up()


def shown_mix(page):
    items = f"[...document.querySelectorAll('{MAPS} .mix button')]"
    return dict(page.evaluate(f"() => {items}.map(item => [+item.dataset.class, +item.dataset.count])"))


def lonely(places, centers, far):
    """Centers that stand apart from all others."""
    apart = np.hypot(*(places[:centers, None] - places[None, :centers]).transpose(2, 0, 1))
    return np.flatnonzero((apart + np.eye(centers) > far).all(1))


def gap(values):
    """A place between values that divides them, as far from all as it can be."""
    found = np.unique(values)
    widest = np.diff(found).argmax()
    return float(found[widest : widest + 2].mean())


def test_a_box_shows_the_mix_of_the_points_inside(lab, maps, made, places):
    x, y = places[100:].T
    for start, end in (((-0.02, -0.02), (gap(x), 1.02)), ((1.02, 1.02), (-0.02, gap(y)))):
        answered(maps, MAPS, lambda start=start, end=end: drag(maps, start, end))
        left, top, right, bottom = json.loads(maps.locator(MAPS).get_attribute("data-box"))
        wanted = [*np.minimum(start, end), *np.maximum(start, end)]
        assert [left, top, right, bottom] == pytest.approx(wanted, abs=0.006)
        rows = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        assert 0 < len(rows) < CODES
        classes, counts = np.unique(made.labels[rows], return_counts=True)
        assert shown_mix(maps) == dict(zip(classes.tolist(), counts.tolist(), strict=True))
        images = maps.locator(f"{MAPS} .images button").all()
        assert [int(image.get_attribute("data-row")) for image in images] == rows[:24].tolist()
        assert maps.locator(f"{MAPS} .status").inner_text().startswith(f"{counted(len(rows), 'image')} in the box: ")
    lab.shot("06_maps_box", maps.locator(MAPS))


def test_a_picked_class_is_marked_in_every_view(lab, maps, made, places):
    answered(maps, MAPS, maps.get_by_role("button", name="Clear box").click)
    assert sum(shown_mix(maps).values()) == CODES
    picture = lambda name: maps.locator(f"{MAPS} {name}").evaluate("canvas => canvas.toDataURL()")
    before = [picture(name) for name in (".dots", ".branches")]
    c = int(lonely(places, 100, 0.03)[0])
    x, y = on_map(maps, places[c])
    answered(maps, MAPS, lambda: maps.locator(f"{MAPS} .dots").click(position=dict(x=x, y=y)))
    assert maps.locator(MAPS).get_attribute("data-chosen") == str(c)
    assert maps.locator(f'{MAPS} select[data-name="class"]').input_value() == str(c)
    own = int((made.labels == c).sum())
    assert shown_mix(maps) == ({c: own} if own else {})
    assert maps.locator(f"{MAPS} .images .mine").count() == min(own, 24)
    assert all(old != picture(name) for old, name in zip(before, (".dots", ".branches"), strict=True))
    lab.shot("06_maps_class", maps.locator(MAPS))
    # in a box, the picked class keeps its mark among the others
    answered(maps, MAPS, lambda: drag(maps, (0, 0), (1, 1)))
    pressed = maps.locator(f'{MAPS} .mix [aria-pressed="true"]')
    assert sum(shown_mix(maps).values()) == CODES and pressed.count() == (1 if own else 0)
    assert maps.locator(f"{MAPS} .images .mine").count() < 24
    choose(maps, MAPS, "class", "")
    answered(maps, MAPS, maps.get_by_role("button", name="Clear box").click)
    assert [picture(name) for name in (".dots", ".branches")] == before


def test_a_leaf_of_the_tree_picks_its_class(maps, made):
    from scipy.cluster.hierarchy import leaves_list

    tree = np.array(made.first["tree"])
    leaves = leaves_list(np.c_[tree, np.zeros(len(tree))])
    area = maps.locator(f"{MAPS} .branches").bounding_box()
    for row in (30, 77):
        y = PAD + (row + 0.5) * (area["height"] - 2 * PAD) / 100
        answered(maps, MAPS, lambda y=y: maps.locator(f"{MAPS} .branches").click(position=dict(x=90, y=y)))
        assert maps.locator(MAPS).get_attribute("data-chosen") == str(leaves[row])
    answered(maps, MAPS, lambda: choose(maps, MAPS, "class", ""))


def test_a_bit_colors_the_map_by_that_bit(lab, maps, made, places):
    signs = made.both
    shown, alone = {1: [232, 215, 90], -1: [18, 53, 112]}, lonely(places, 100, 0.03)
    assert len(alone) > 3 and maps.locator(f"{MAPS} .legend .groups").is_visible()
    for bit in (3, 12):
        choose(maps, MAPS, "colors", str(bit))
        found = [pixel(maps, f"{MAPS} .dots", *on_map(maps, places[c])) for c in alone]
        assert found == [shown[sign] for sign in signs[alone, bit].tolist()]
    assert maps.locator(f"{MAPS} .legend .bits").is_visible()
    lab.shot("06_maps_bit", maps.locator(MAPS))
    choose(maps, MAPS, "colors", "")
    colors = [made.first["colors"][g] for g in made.groups[alone]]
    found = [pixel(maps, f"{MAPS} .dots", *on_map(maps, places[c])) for c in alone]
    assert ["#" + "".join(f"{part:02x}" for part in color) for color in found] == colors


def test_the_maps_go_by_keyboard(maps, made, places):
    cells = maps.locator(".jp-Cell").count()
    maps.locator(f'{MAPS} select[data-name="class"]').focus()
    maps.keyboard.press("Tab")
    assert maps.evaluate("document.activeElement.className") == "dots", "a button that does nothing is passed over"
    steps = {
        "ArrowRight": [0.4, 0.4, 0.6, 0.6],
        "ArrowDown": [0.4, 0.45, 0.6, 0.65],
        "Shift+ArrowLeft": [0.4, 0.45, 0.55, 0.65],
    }
    for key, box in steps.items():
        answered(maps, MAPS, lambda key=key: maps.keyboard.press(key))
        assert json.loads(maps.locator(MAPS).get_attribute("data-box")) == pytest.approx(box)
    for key, times in {"ArrowLeft": 8, "ArrowUp": 9, "Shift+ArrowRight": 16, "Shift+ArrowDown": 15}.items():
        for _ in range(times):
            answered(maps, MAPS, lambda key=key: maps.keyboard.press(key))
    assert json.loads(maps.locator(MAPS).get_attribute("data-box")) == [0, 0, 0.95, 0.95]
    left, top, right, bottom = json.loads(maps.locator(MAPS).get_attribute("data-box"))
    x, y = places[100:].T
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    assert maps.locator(MAPS).get_attribute("data-total") == str(inside.sum()) != "0"
    for key in "ddx":
        maps.keyboard.press(key)
    maps.keyboard.press("Tab")
    item = maps.evaluate("document.activeElement.dataset.class")
    maps.keyboard.press("Enter")
    assert maps.locator(MAPS).get_attribute("data-chosen") == item != ""
    choose(maps, MAPS, "class", "")
    answered(maps, MAPS, maps.get_by_role("button", name="Clear box").click)
    assert maps.locator(".jp-Cell").count() == cells


def test_the_maps_are_readable_in_the_dark_theme(lab, maps):
    check_dark(lab, maps, MAPS, (".status", ".legend span", ".legend button", ".mix button", ".tree p", "select"))
    lab.shot("06_maps_dark", maps.locator(MAPS))
    lab.menu("Settings", "Theme", "JupyterLab Light")
    assert lab.errors == [] and lab.outside == []


def test_after_a_restart_the_maps_do_not_pretend(lab, maps):
    lab.restart_kernel()
    maps.locator(f"{MAPS} .status", has_text="The kernel is gone: run the cell again").wait_for(timeout=10_000)
    answers = maps.locator(MAPS).get_attribute("data-answers")
    drag(maps, (0.2, 0.2), (0.8, 0.8))
    assert maps.locator(f"{MAPS} .box").is_hidden() and not maps.locator(f"{MAPS} select").first.is_enabled()
    assert maps.locator(MAPS).get_attribute("data-answers") == answers
    assert lab.errors == [] and lab.outside == []
