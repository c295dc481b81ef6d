"""The committed notebooks: their outputs belong to this code. And the sequence once, headless, on little data."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from frames import write_frame
from web_page import Page

from shc import config, datasets, frames, hamming, parameters, pipeline, refresh, report, stages, structure
from shc.datasets.sources import MissingData
from shc.datasets.writing import write_folder
from shc.method_run import MethodRun
from shc.pipeline import SEQUENCE
from shc.runs import ForeignArtifact, Run
from shc.sweep_file import DEFAULT_NOTEBOOK

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
RENEW = "run `shc run` and `shc refresh`"


def load(name):
    return pipeline.read_notebook(FOLDER / f"{name}.ipynb")


def code_cells(book):
    return [cell for cell in book["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def outputs_of(book):
    return [output for cell in code_cells(book) for output in cell["outputs"]]


def data_of(book):
    return [output for output in outputs_of(book) if "data" in output]


# ------------------------------------------------------------------------------------------ committed outputs


def test_the_folder_holds_the_sequence_and_what_sweeps_execute():
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == {*SEQUENCE, DEFAULT_NOTEBOOK, "contents"}
    assert not code_cells(load("contents"))  # nothing there to execute


def test_the_notebook_of_sweeps_takes_what_a_method_run_has():
    book = load(DEFAULT_NOTEBOOK)
    assert not outputs_of(book)  # every cell of a sweep has its own copy, with outputs
    found = parameters.parameters_of(book)
    fields = {field.name: (field.type.__name__, field.default) for field in dataclasses.fields(MethodRun)}
    assert {p.name: (p.kind, p.default) for p in found.values() if p.name in fields} == fields
    assert found.keys() - fields == {"run", "base", "base_only"}


@pytest.mark.parametrize("name", SEQUENCE)
def test_outputs_were_made_by_this_code(name):
    book = load(name)
    stored = book["metadata"].get("shc", {}).get("source_hash")
    assert stored == pipeline.source_hash(book), f"the outputs of {name} are stale; {RENEW}"
    assert outputs_of(book)


@pytest.mark.parametrize("name", SEQUENCE)
def test_cells_were_executed_once_from_top_to_bottom(name):
    counts = [cell["execution_count"] for cell in code_cells(load(name))]
    assert counts == list(range(1, len(counts) + 1)), RENEW


@pytest.mark.parametrize("name", SEQUENCE)
def test_outputs_hold_only_what_travels(name):
    book = load(name)
    assert set(book["metadata"]) <= {"kernelspec", "language_info", "shc"}
    for cell in book["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        assert "injected-parameters" not in cell["metadata"].get("tags", [])
    for output in outputs_of(book):
        assert output["output_type"] in ("stream", "display_data", "execute_result")
        assert output.get("name", "stdout") == "stdout"
    for output in data_of(book):
        assert set(output["data"]) <= set(refresh.KEEP)


@pytest.mark.parametrize("name", SEQUENCE)
def test_every_picture_says_what_it_shows(name):
    for output in data_of(load(name)):
        if "image/png" in output["data"]:
            alt = output["metadata"].get("image/png", {}).get("alt", "")
            assert len(alt) > 10, f"a picture of {name} has no alternative text"


def test_every_step_has_a_picture():
    for name in SEQUENCE[:-1]:
        assert any("image/png" in output["data"] for output in data_of(load(name))), f"{name}: {RENEW}"


def test_the_notebooks_stay_small():
    sizes = {name: (FOLDER / f"{name}.ipynb").stat().st_size for name in SEQUENCE}
    assert max(sizes.values()) <= refresh.LARGEST and sum(sizes.values()) <= 8_000_000, sizes


def test_the_comparison_shows_the_committed_table():
    digest = frames.digest(ROOT / "benchmarks" / "comparison.csv")
    told = "".join("".join(o["text"]) for o in outputs_of(load("07_compare_methods")) if o["output_type"] == "stream")
    assert f"(digest {digest})" in told, RENEW


# ------------------------------------------------------------------------------------------ sources


@pytest.mark.parametrize("name", SEQUENCE)
def test_parameters_are_typed_told_and_valid(name):
    found = parameters.parameters_of(load(name))
    assert (found["device"].kind, found["device"].default) == ("str", "auto")
    assert (found["live"].kind, found["live"].default) == ("bool", True)
    assert (found["run"].kind, found["run"].default) == ("str", "../runs/quickstart")
    assert all(parameter.help for parameter in found.values())
    parameters.check_values({p.name: p.default for p in found.values()})


def test_a_parameters_name_means_one_thing():
    """`--set name=value` reaches every notebook that has the name, so types and defaults must agree."""
    known = {}
    for name, found in pipeline.all_parameters().items():
        for parameter in found.values():
            first = known.setdefault(parameter.name, (parameter.kind, parameter.default, name))
            assert first[:2] == (parameter.kind, parameter.default), (
                f"{parameter.name} differs in {first[2]} and {name}"
            )


def test_quick_settings_are_parameters():
    known = {name for found in pipeline.all_parameters().values() for name in found}
    assert set(pipeline.QUICK) <= known
    parameters.check_values(pipeline.QUICK)


@pytest.mark.parametrize("name", SEQUENCE)
def test_a_notebook_reads_well(name):
    book = load(name)
    first = "".join(book["cells"][0]["source"])
    assert book["cells"][0]["cell_type"] == "markdown" and first.startswith("# ")
    tagged = [i for i, cell in enumerate(book["cells"]) if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == [1]
    for cell in code_cells(book):
        lines = "".join(cell["source"]).splitlines()
        most = 30 if cell is book["cells"][1] else 24  # parameters are a list, and no code to follow
        assert len(lines) <= most, f"a cell of {name} has {len(lines)} lines:\n{lines[0]}"
    assert 20 <= len(book["cells"]) <= 40
    if name != SEQUENCE[-1]:
        text = "\n".join("".join(cell["source"]) for cell in book["cells"])
        asks = ["**Predict first:**" in "".join(cell["source"]) for cell in book["cells"]]
        assert 3 <= text.count("**Predict first:**") <= 5
        assert all(
            after["cell_type"] == "code" for asked, after in zip(asks, book["cells"][1:], strict=False) if asked
        ), f"{name} asks for a prediction, and no cell follows that answers it"
        for part in ("You will", "By hand", "## Summary", "## Exercises"):
            assert re.search(part, text, re.IGNORECASE), f"{name} lacks {part!r}"


def test_the_readme_shows_the_committed_numbers():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for part, write in refresh.PARTS.items():
        assert refresh.with_numbers(text, write(ROOT / "benchmarks"), part) == text, "run `shc refresh`"


# ------------------------------------------------------------------------------------------ other kinds of data


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A function that makes a run of little data, with the options of `shc.config.Data`."""

    def make(**options):
        run = Run(tmp_path_factory.mktemp("tiny"))
        data = config.Data(scale=0.02, size=16, **options)
        classifier = config.ClassifierConfig(epochs=1, batch=64, device="cpu")
        hasher = config.HasherConfig(epochs=1, batch=64, device="cpu")
        stages.run_all(run, data, classifier, config.CentersConfig(bits=16), hasher, kinds=("semantic",))
        return run

    return make


def run_cells(name, **values):
    """Execute a notebook's code cells here, with other parameters; returns the names that they leave."""
    left = {"display": print}
    for cell in code_cells(load(name)):
        exec("".join(cell["source"]), left)
        if "parameters" in cell["metadata"].get("tags", []):
            left |= values
    return left


SMALL = dict(map_codes=60, frontier_step=64, frontier_seeds=1, frontier_thin=1, device="cpu", live=False)


def test_center_structure_says_what_it_skips_without_a_taxonomy(tiny_run, monkeypatch, capsys):
    run = tiny_run()
    known = stages.images_of
    monkeypatch.setattr(stages, "images_of", lambda folder: dataclasses.replace(known(folder), hierarchy=None))
    left = run_cells("06_center_structure", run=str(run.path), **SMALL)
    assert capsys.readouterr().out.count("skipped: 'emoji' has no class hierarchy") == 4
    assert set(left["after"]) == {"mAP@ALL"}
    assert not (run.path / "figures" / "06_tanglegram.png").exists()
    assert (run.path / "figures" / "06_frontier.png").exists()
    assert "cophenetic centers and taxonomy" not in run.results()["structure"]


def test_center_structure_works_for_classes_that_were_never_trained(tiny_run):
    run = tiny_run(protocol="unseen-classes")
    left = run_cells("06_center_structure", run=str(run.path), **SMALL)
    assert left["split"] == "train" and left["C"] == 80
    assert run.results()["structure"]["cophenetic centers and taxonomy"] < 1


def test_class_similarity_and_its_solutions_work_without_super_classes(tiny_run, monkeypatch, capsys):
    run, known = tiny_run(), stages.images_of
    monkeypatch.setattr(stages, "images_of", lambda folder: dataclasses.replace(known(folder), hierarchy=None))
    left = run_cells("02_class_similarity", run=str(run.path))
    printed, results = capsys.readouterr().out, run.results()
    assert "'emoji' has no super-classes" in printed and "all classes" not in printed and results["similarity"] == {}
    spread = (left["off_diagonal"] ** 2).mean()
    told = f"mean square off the diagonal {spread:.3f}, no super-classes to compare with"
    assert results["headlines"]["02_class_similarity"] == told
    closest = max(left["S"][i, j] for i in range(100) for j in range(i))
    assert len(left["pairs"]) == 6 and left["S"][left["pairs"][0]] == closest


# ------------------------------------------------------------------------------------------ your own images


OWN = dict(size=16, epochs=1, hasher_epochs=1, bits=8, neighbors=3, device="cpu", live=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A flat folder of three classes with eight pictures each, one of them damaged."""
    emoji, folder = datasets.load("emoji", scale=0.02, size=16), tmp_path_factory.mktemp("own") / "pictures"
    rows = torch.cat([(emoji.labels == c).nonzero()[:8, 0] for c in range(3)])
    write_folder(dataclasses.replace(emoji, hierarchy=None), folder, rows)
    (folder / emoji.class_names[0] / "damaged.png").write_bytes(b"")
    return folder


@pytest.mark.filterwarnings("ignore:image_folder")
def test_your_own_images_need_nothing_but_a_folder(pictures, tmp_path, capsys):
    left = run_cells("08_your_own_images", run=str(tmp_path / "one"), root=str(pictures), **OWN)
    printed, run = capsys.readouterr().out, Run(tmp_path / "one")
    assert "24 pictures of 3 classes" in printed and "damaged.png', 'the file is empty'" in printed
    assert run.results()["own"]["pictures"] == 24 and not left["whole"] and not left["example"]
    assert {file.stem for file in (run.path / "figures").glob("*.png")} == {
        "08_classes", "08_similarity", "08_retrieval", "08_search",
    }  # fmt: skip
    assert (run.path / "own" / "hasher.safetensors").exists() and not (run.path / "hasher.safetensors").exists()
    command = shlex.split(printed[printed.index("shc search") :].splitlines()[0])
    told = {name: command[command.index(name) + 1].removeprefix("memory:") for name in ("--run", "--image", "--index")}
    for place in told.values():  # as seen from the folder above the notebook's, which is this one here
        assert (Path("..") / place).exists() and (Path("..") / place).resolve().is_relative_to(run.path / "own")


@pytest.fixture(scope="module", params=["flat", "tree"])
def handful(request, tmp_path_factory):
    """A finished run on a folder of two classes with four pictures each, without and with a group above each class."""
    emoji, folder = datasets.load("emoji", scale=0.02, size=16), tmp_path_factory.mktemp("handful")
    rows = torch.cat([(emoji.labels == c).nonzero()[:4, 0] for c in (0, 50)])
    tree = emoji.hierarchy if request.param == "tree" else None
    write_folder(dataclasses.replace(emoji, hierarchy=tree), folder / "pictures", rows)
    run, where = Run(folder / "run"), dict(epochs=1, batch=4, device="cpu")
    data = config.Data("image_folder", root=str(folder / "pictures"), size=16)
    stages.run_all(
        run, data, config.ClassifierConfig(**where), config.CentersConfig(bits=8), config.HasherConfig(**where),
        kinds=("semantic", "random"),
    )  # fmt: skip
    return run


FEW = {
    "02_class_similarity": {},
    "05_retrieval": dict(live=False, device="cpu"),
    "06_center_structure": SMALL,
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", FEW)
def test_two_classes_are_enough(handful, name):
    run_cells(name, run=str(handful.path), **FEW[name])
    results = handful.results()
    assert "nan" not in results["headlines"][name]
    json.dumps(results, allow_nan=False)  # NaN is no JSON: other programs could not read it


@pytest.mark.filterwarnings("ignore:image_folder")
@pytest.mark.parametrize("name", ["01_classifier", "08_your_own_images"])
def test_damaged_pictures_are_refused_by_choice(pictures, tmp_path, name):
    values = OWN | {"run": str(tmp_path), "root": str(pictures), "data": "image_folder", "unreadable": "fail"}
    with pytest.raises(ValueError, match=r"1 of 25 pictures \(.*damaged\.png .* cannot be read"):
        run_cells(name, **values)


@pytest.mark.filterwarnings("ignore:image_folder")
def test_a_run_of_your_own_images_is_looked_at_and_not_made_twice(pictures, tmp_path, monkeypatch):
    run, where = Run(tmp_path / "whole"), dict(epochs=1, batch=8, device="cpu")
    data = config.Data("image_folder", root=str(pictures), size=16)
    classifier, hasher = config.ClassifierConfig(**where), config.HasherConfig(**where)
    stages.run_all(run, data, classifier, config.CentersConfig(bits=8), hasher, kinds=("semantic",))
    before = {name: run.file(name).read_bytes() for name in ("classifier", "similarity", "centers", "hasher")}
    monkeypatch.setattr(stages, "fit", None)
    left = run_cells("08_your_own_images", run=str(run.path), root=str(pictures), **OWN | {"epochs": 7})
    assert left["whole"] and not (run.path / "own").exists()
    assert before == {name: run.file(name).read_bytes() for name in before}
    # a folder that lost a picture, and a run that was made with other splits: not what its classifier saw
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    min(folder.rglob("[!d]*.png")).unlink()
    moved = run.parameters()["data"] | {"root": str(folder)}
    for changed in (moved, moved | {"seed": 1}):
        run.add_parameters("data", changed)
        with pytest.raises(ForeignArtifact, match=r"classifier\S* was made from other data: .*shc run --from 01"):
            run_cells("08_your_own_images", run=str(run.path), root=str(folder), **OWN)
    assert before == {name: run.file(name).read_bytes() for name in before}


def test_a_folder_beside_the_packages_drawings_is_a_folder(tmp_path):
    run = Run(tmp_path / "emoji")
    run.add_parameters("data", {"data": "emoji", "root": str(tmp_path / "nothing")})
    with pytest.raises(MissingData, match="nothing is not there"):  # and not the example
        run_cells("08_your_own_images", run=str(run.path), root=str(tmp_path / "nothing"), **OWN)


def test_another_data_sets_files_are_no_class_folders(tmp_path, monkeypatch):
    run = Run(tmp_path / "other")
    run.add_parameters("data", {"data": "cifar100", "root": str(tmp_path / "files")})

    def instead(images, folder, rows):
        raise InterruptedError(folder)

    monkeypatch.setattr("shc.datasets.writing.write_folder", instead)
    with pytest.raises(InterruptedError, match="own/pictures"):  # it makes the example
        run_cells("08_your_own_images", run=str(run.path), root=str(tmp_path / "files"), **OWN)


# ------------------------------------------------------------------------------------------ other tables of a sweep


def compare(folder, capsys, metric="mAP@ALL", **options):
    """Execute notebook 07 on a made-up table; returns its names, what it printed, and its pictures."""
    file, run = write_frame(folder, **options), Run(folder / "run")
    left = run_cells("07_compare_methods", run=str(run.path), frame=str(file), metric=metric)
    return left, capsys.readouterr().out, {picture.stem for picture in (run.path / "figures").glob("*.png")}


def test_the_comparison_reads_nothing_but_the_table(tmp_path, capsys):
    left, printed, pictures = compare(tmp_path, capsys)
    assert "not run" not in printed and len(pictures) == 8
    assert set(left["findings"]["verdict"]) <= {"holds", "does not hold", "not decided by 5 seeds"}
    lead = left["frames"].paired(left["at"], "mAP@ALL", "shc", "csq")
    results = Run(tmp_path / "run").results()
    assert results["comparison"]["csq"] == pytest.approx(lead.mean, abs=1e-4)
    assert str(lead) in results["headlines"]["07_compare_methods"]


def test_a_part_of_the_table_is_enough_for_a_part_of_the_comparison(tmp_path, capsys):
    left, printed, pictures = compare(tmp_path, capsys, "nDCG@100", blocks="closed dose", seeds=2)
    for block in ("unseen", "shapes", "distance", "similarity", "solver", "budget", "start", "reference"):
        assert f"not run: the table has no rows of the block {block!r}" in printed
    assert "07_methods" in pictures and "07_dose" in pictures and "07_shapes" not in pictures
    assert "+" in printed and "too few for an interval" in printed
    assert set(left["findings"]["verdict"]) == {"not run", "not decided by 2 seeds"}


def test_a_table_without_rows_gives_a_comparison_without_numbers(tmp_path, capsys):
    left, printed, pictures = compare(tmp_path, capsys, blocks="")
    assert pictures == {"07_paper"} and set(left["findings"]["verdict"]) == {"not run"}
    assert printed.count("not run: ") >= 12


# ------------------------------------------------------------------------------------------ one headless run


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick run of the whole sequence in a folder of its own, and the lines that it printed."""
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHC_RUNS", str(tmp_path_factory.mktemp("runs")))
        run = pipeline.run_sequence("try", quick=True, say=lines.append)
        report.write_report(run)
        yield run, lines


@pytest.mark.notebooks
def test_the_sequence_runs(quick):
    run, lines = quick
    assert [line.split()[0] for line in lines] == list(SEQUENCE)
    assert run.parameters()["data"]["scale"] == pipeline.QUICK["scale"]
    assert run.parameters()["classifier"]["epochs"] == pipeline.QUICK["epochs"]


@pytest.mark.notebooks
def test_semantic_centers_retrieve_better_than_random_ones(quick):
    results = quick[0].results()
    semantic, random = results["mAP"]["semantic"], results["mAP"]["random"]
    assert 0.02 < random < semantic < 1  # a random order of 100 classes gives about 0.01
    assert results["top1"]["query_seen"] > 0.2 and results["top1"]["query"] > 0.05
    assert results["similarity"]["AUC same super-class"] > 0.55


@pytest.mark.notebooks
def test_the_centers_keep_the_papers_distance(quick):
    run = quick[0]
    images = stages.images_of(run)
    codes = stages.load_centers(run, images)[0]["codes"]
    classes, bits = codes.shape
    assert hamming.minimum_distance(codes) >= hamming.min_distance_rule(bits, classes)
    told = run.results()["structure"]
    assert told["spearman"] == pytest.approx(
        structure.rank_agreement(run.load("similarity")["S"], codes).spearman, abs=1e-4
    )
    centers = run.results()["centers"]
    assert centers["bound"] <= centers["loss"] and centers["min_distance"] == hamming.minimum_distance(codes)


@pytest.mark.notebooks
def test_the_tables_numbers_are_those_of_the_codes(quick):
    run = quick[0]
    images = stages.images_of(run)
    for kind, told in run.results()["mAP"].items():
        assert stages.evaluate(run, images, kind)["mAP@ALL"] == pytest.approx(told, abs=1e-6)


@pytest.mark.notebooks
@pytest.mark.parametrize("name", SEQUENCE)
def test_an_executed_notebook_is_clean(quick, name):
    book = json.loads((quick[0].path / "notebooks" / f"{name}.ipynb").read_text())
    for output in outputs_of(book):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", "".join(output["text"])
    for output in data_of(book):
        assert "application/vnd.jupyter.widget-view+json" not in output["data"], "live=False draws the static twin"
        if "image/png" in output["data"]:
            assert output["metadata"]["image/png"]["alt"]
    refresh.with_outputs(load(name), book, name)  # what `shc refresh` would commit


@pytest.mark.notebooks
def test_the_report_opens_offline(quick):
    run = quick[0]
    index = Page((run.path / "index.html").read_text())
    assert index.fetched == [] and index.handlers == [] and len(index.alts) >= len(SEQUENCE) - 1 and all(index.alts)
    for name in SEQUENCE:
        page = Page((run.path / "notebooks" / f"{name}.html").read_text())
        assert page.fetched == [] and all(page.alts)
        assert "No description" not in " ".join(page.alts)
    assert all(file.with_suffix(".txt").exists() for file in (run.path / "figures").glob("*.png"))


@pytest.mark.notebooks
def test_a_second_run_executes_nothing(quick):
    lines = []
    pipeline.run_sequence("try", quick=True, say=lines.append)
    assert len(lines) == len(SEQUENCE) and all("unchanged" in line for line in lines)


@pytest.mark.notebooks
def test_going_on_from_the_middle_keeps_what_was_made(quick):
    run = quick[0]
    before = Run(run.path).file("classifier").read_bytes()
    lines = []
    pipeline.run_sequence("try", quick=True, only="05", say=lines.append)
    assert [line.split()[0] for line in lines] == ["05_retrieval"]
    assert run.file("classifier").read_bytes() == before
