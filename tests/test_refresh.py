import copy
import json
from pathlib import Path

import fake_notebooks as fake
import numpy as np
import pytest

from shc import centers, refresh
from shc.center_history import pack_history
from shc.pipeline import SEQUENCE, source_hash
from shc.runs import Run, RunError

WIDGET = {
    "output_type": "display_data",
    "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "Slider()"},
    "metadata": {},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with small notebooks, entered."""
    fake.write_sequence(tmp_path, n00_tour=[fake.markdown("# Tour"), fake.code("x"), fake.code(""), fake.code("y")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def committed():
    return fake.notebook(fake.parameters(), fake.markdown("# Tour"), fake.code("x"), fake.code(""), fake.code("y"))


def executed(*outputs, also=()):
    """What papermill leaves of `committed`: injected parameters, metadata, and outputs of the cells x and y."""
    book = copy.deepcopy(committed())
    book["cells"].insert(1, fake.code("run = '…'", tags=["injected-parameters"], count=2))
    for cell in book["cells"]:
        cell["metadata"] |= {"papermill": {"duration": 1.0}, "execution": {"iopub.status.busy": "…"}}
    book["cells"][3] |= {"outputs": list(outputs), "execution_count": 3}
    book["cells"][5] |= {"outputs": list(also), "execution_count": 7}
    book["metadata"] |= {"papermill": {"output_path": "…"}, "widgets": {"state": {}}}
    return book


def outputs_of(*outputs):
    """The cell's outputs after cleaning."""
    return refresh.with_outputs(committed(), executed(*outputs), "00_tour")["cells"][2]["outputs"]


def test_outputs_move_into_the_committed_notebook_and_nothing_else(project):
    made = refresh.with_outputs(committed(), executed(fake.stream("1\n")), "00_tour")
    assert [cell["source"] for cell in made["cells"]] == [cell["source"] for cell in committed()["cells"]]
    assert [cell.get("execution_count") for cell in made["cells"]] == [1, None, 2, None, 3]
    assert [cell["metadata"] for cell in made["cells"]] == [{"tags": ["parameters"]}, {}, {}, {}, {}]
    assert set(made["metadata"]) == {"kernelspec", "language_info", "shc"}
    assert made["metadata"]["shc"] == {"source_hash": source_hash(committed())}
    assert made["metadata"]["language_info"] == {"name": "python"}  # not the minor version of who ran it
    assert made["cells"][2]["outputs"] == [fake.stream("1\n")]


def test_refreshing_twice_changes_nothing(project):
    once = refresh.with_outputs(committed(), executed(fake.picture("alt")), "00_tour")
    assert refresh.with_outputs(once, executed(fake.picture("alt")), "00_tour") == once


def test_widgets_and_standard_error_go(project):
    kept = outputs_of(WIDGET, fake.stream("a warning", "stderr"), fake.stream("kept"))
    assert kept == [fake.stream("kept")]


def test_pictures_keep_their_alternative_text_and_lose_other_metadata(project):
    drawn = fake.picture("alt", "execute_result")
    drawn["metadata"] |= {"needs_background": "light"}
    drawn["data"] |= {"application/json": {}, "application/vnd.custom": 3}
    (kept,) = outputs_of(drawn)
    assert kept["metadata"] == {"image/png": {"alt": "alt"}}
    assert kept["data"] == {"image/png": fake.PNG, "text/plain": "<Figure>"}
    assert kept["execution_count"] == 2


def test_paths_and_addresses_of_objects_are_shortened(project):
    root, home = project.resolve(), Path.home()
    text = f"saved {root}/runs/one/a.npz in {root}, {home}/b, <object at 0x7f3a5c0012d0>, 0xff"
    (kept,) = outputs_of(fake.stream([text[:10], text[10:]]))
    assert kept["text"] == "saved runs/one/a.npz in ., ~/b, <object at 0x…>, 0xff"
    table = {"output_type": "display_data", "data": {"text/html": [f"<b>{root}/", "x</b>"]}, "metadata": {}}
    (kept,) = outputs_of(table)
    assert kept["data"] == {"text/html": "<b>x</b>"}


def test_a_stored_error_is_refused(project):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    with pytest.raises(RunError, match="an error is stored in the executed notebook: ValueError; run it again"):
        outputs_of(error)


def test_a_notebook_that_changed_since_is_refused(project):
    changed = committed()
    changed["cells"][2]["source"] = "x + 1"
    with pytest.raises(RunError, match="00_tour has changed since this run executed it; execute it again"):
        refresh.with_outputs(changed, executed(), "00_tour")


README = """# Title

<!-- numbers: written by a machine -->
old
<!-- end of numbers -->

## Next
<!-- own pictures: -->
<!-- end of own pictures -->
<!-- results: -->
<!-- end of results -->
"""
HEADLINE = {
    "seeds": 2,
    "device": "8 CPU cores",
    "date": "2026-01-01",
    "bits": 32,
    "queries": 5000,
    "database": 45000,
    "results": {
        "semantic": {
            "f": [0.01, 0.03],
            "mAP@ALL": [0.4, 0.42],
            "super_mAP@ALL": [0.5, 0.5],
            "mAP@ALL seen": [0.8, 0.8],
        },
        "random": {"f": [0.1, 0.1], "mAP@ALL": [0.3, 0.32], "super_mAP@ALL": [0.2, 0.2], "mAP@ALL seen": [0.8, 0.8]},
    },
    "ratio": {"random": 1.32},
    "difference": {"random": {"mean": 0.1, "low": 0.05, "high": 0.15}},
}


def run_of(project, **changes):
    """A run in which the whole sequence was executed, beside a README and the record of a benchmark."""
    from PIL import Image

    (project / "README.md").write_text(README)
    fake.write(project / "benchmarks" / "headline.json", HEADLINE)
    run = Run(project / "runs" / "one")
    run.add_results(
        top1={"query": 0.5, "query_seen": 0.9},
        summary="mAP .41 against .31",
        made_with={"device": "2 CPU cores", "minutes": "7.5", "torch": "2.x", "date": "2026-01-01"},
    )
    S = np.eye(4)
    run.save("similarity", {"S": S}, parameters={}, fingerprint="")
    steps = list(centers.optimize_centers(S, 8, sweeps=20))
    run.save("centers", {"codes": steps[-1].codes, **pack_history(steps)}, parameters={}, fingerprint="")
    for figure in {*refresh.THUMBNAILS.values(), *refresh.HERO}:
        file = run.path / "figures" / f"{figure}.png"
        file.parent.mkdir(exist_ok=True)
        Image.effect_noise((800, 300), 80).save(file)
    for name in SEQUENCE:
        book = json.loads((project / "notebooks" / f"{name}.ipynb").read_text())
        book["cells"][-1]["outputs"] = changes.get(f"n{name}", [fake.stream("done\n")])
        fake.write(run.path / "notebooks" / f"{name}.ipynb", book)
    return run


def test_the_whole_sequence_is_refreshed(project):
    told = refresh.refresh(run_of(project))
    assert [line.split()[0] for line in told[: len(SEQUENCE)]] == list(SEQUENCE)
    assert all(line.endswith(" kB") for line in told[: len(SEQUENCE)])
    for name in SEQUENCE:
        book = json.loads((project / "notebooks" / f"{name}.ipynb").read_text())
        assert book["cells"][-1]["outputs"] == [fake.stream("done\n")]
        assert book["metadata"]["shc"]["source_hash"] == source_hash(book)
    assert (project / "notebooks" / "00_tour.ipynb").read_text().endswith("}\n")


def test_the_readme_gets_numbers_and_pictures(project):
    from PIL import Image

    refresh.refresh(run_of(project))
    readme = (project / "README.md").read_text()
    assert readme.startswith("# Title\n\n<!-- numbers: written by a machine -->\n") and "old" not in readme
    assert "\n<!-- end of numbers -->\n\n## Next\n<!-- own pictures: -->\n" in readme
    assert "7.5 minutes" in readme and "0.900 on seen drawings, 0.500 on the unseen family" in readme
    assert "Its last line: mAP .41 against .31." in readme
    assert "| **semantic (SHC)** | 0.0200 | 0.410 (0.400 / 0.420) | 0.500 | 0.800 |  |" in readme
    assert "| random | 0.1000 | 0.310 (0.300 / 0.320) | 0.200 | 0.800 | × 1.32 (+0.100, +0.050 to +0.150) |" in readme
    record = json.loads((project / "benchmarks" / "quickstart.json").read_text())
    assert record["results"]["summary"] == "mAP .41 against .31" and record["parameters"] == {}
    folder = project / "notebooks" / "figures"
    assert {file.stem for file in folder.iterdir()} == {*refresh.THUMBNAILS, "hero", "centers"}
    with Image.open(folder / "centers.gif") as film:
        assert film.format == "GIF" and film.n_frames > 2
    with Image.open(folder / "00_tour.png") as picture:
        assert picture.width <= 280 and picture.height <= 180
    refresh.refresh(Run(project / "runs" / "one"))
    assert (project / "README.md").read_text() == readme


def test_a_readme_without_a_place_for_numbers_is_told():
    with pytest.raises(RunError, match=r"the page must contain the lines '<!-- numbers:' "):
        refresh.with_numbers("# Title\n", "numbers")


def test_a_missing_record_is_told_with_its_maker(project):
    run = run_of(project)
    (project / "benchmarks" / "headline.json").unlink()
    with pytest.raises(RunError, match=r"headline.json is missing, .*make it with `python benchmarks/headline.py`"):
        refresh.refresh(run)


def test_a_missing_figure_is_told(project):
    run = run_of(project)
    (run.path / "figures" / f"{refresh.HERO[0]}.png").unlink()
    with pytest.raises(RunError, match=r"\.png, a picture of the README, is missing; execute the notebooks"):
        refresh.refresh(run)


def test_a_notebook_that_was_not_executed_is_told(project):
    run = run_of(project)
    (run.path / "notebooks" / "03_hash_centers.ipynb").unlink()
    with pytest.raises(RunError, match="03_hash_centers was not executed in run 'one'; make it with `shc run` first"):
        refresh.refresh(run)


def test_a_notebook_that_would_be_too_large_is_told_and_left_alone(project):
    before = (project / "notebooks" / "00_tour.ipynb").read_bytes()
    run = run_of(project, n00_tour=[fake.stream("é" * 700_000)])
    with pytest.raises(RunError, match=r"00_tour would be 1\.4 MB with its outputs; at most 1\.2 MB"):
        refresh.refresh(run)
    assert (project / "notebooks" / "00_tour.ipynb").read_bytes() == before
