import errno
import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import runs
from shc.runs import ForeignArtifact, MissingArtifact, Run, RunError, artifact_key, atomic_write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs" / "one")


def save_similarity(run, value=1.0, **parameters):
    S = np.full((4, 4), value)
    return run.save("similarity", {"S": S, "names": np.array(["a", "é"])}, parameters=parameters, fingerprint="data")


# ------------------------------------------------------------------------------------------ save and load


def test_arrays_come_back_with_what_made_them(run):
    key = save_similarity(run, mask="true", temperature=1.5)
    back = run.load("similarity", mask="true", temperature=1.5, fingerprint="data")
    assert back.key == key == artifact_key({"temperature": 1.5, "mask": "true"}, "data", {})
    np.testing.assert_array_equal(back["S"], np.ones((4, 4)))
    assert back["names"].tolist() == ["a", "é"] and "__meta__" not in back.arrays
    assert back.meta["versions"]["numpy"] == np.__version__ and len(back.meta["date"]) == 10


def test_weights_come_back_bit_by_bit(run):
    weights = {
        "w": torch.randn(3, 2, 5, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "nan": torch.tensor([float("nan"), -0.0]),
    }
    run.save("classifier", weights, parameters={}, fingerprint="data")
    back = run.load("classifier").arrays
    assert back.keys() == weights.keys()
    for name, tensor in weights.items():
        expected = tensor.contiguous().numpy()
        assert back[name].shape == expected.shape and back[name].dtype == expected.dtype
        assert back[name].tobytes() == expected.tobytes()


def test_variants_stand_beside_each_other(run):
    for variant, value in (("", 1), ("random", -1)):
        codes = np.full((2, 4), value, np.int8)
        run.save("centers", {"codes": codes}, parameters={}, fingerprint="f", variant=variant)
    assert run.load("centers")["codes"][0, 0] == 1 and run.load("centers", "random")["codes"][0, 0] == -1
    assert sorted(file.name for file in run.path.iterdir()) == ["centers-random.npz", "centers.npz"]


def test_files_are_readable_by_others_and_leave_nothing_beside(run):
    save_similarity(run)
    assert run.file("similarity").stat().st_mode & 0o777 == 0o644
    assert [file.name for file in run.path.iterdir()] == ["similarity.npz"]


def test_a_pickled_array_is_refused(run):
    run.path.mkdir(parents=True)
    np.savez(run.file("similarity"), S=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RunError, match=r"similarity.npz is damaged or not one of our artifacts"):
        run.load("similarity")


# ------------------------------------------------------------------------------------------ what does not fit


def test_a_missing_artifact_names_its_notebook(run):
    with pytest.raises(MissingArtifact, match=r"hasher\.safetensors does not exist yet; run notebook 04_hashing_netw"):
        run.load("hasher")


def test_an_unknown_artifact_lists_the_known_ones(run):
    with pytest.raises(RunError, match=r"no artifact called 'center'; known are .*centers"):
        run.load("center")


def test_other_parameters_are_told_with_both_values(run):
    save_similarity(run, mask="true")
    with pytest.raises(ForeignArtifact, match="made with mask='true', not 'predicted'; run notebook 02_class_simil"):
        run.load("similarity", mask="predicted")
    with pytest.raises(ForeignArtifact, match=r"made with temperature=None, not 2.0"):
        run.load("similarity", temperature=2.0)


def test_other_data_is_told(run):
    save_similarity(run)
    with pytest.raises(ForeignArtifact, match=r"from other data: .* run notebook 01_classifier .*`shc run --from 01`"):
        run.load("similarity", fingerprint="other data")


@pytest.mark.parametrize("variant", ["", "random"])
def test_an_input_that_was_made_anew_makes_what_follows_foreign(run, variant):
    def centers(value):
        codes = np.full((2, 4), value, np.int8)
        return run.save("centers", {"codes": codes}, parameters={"seed": value}, fingerprint="f", variant=variant)

    source = "centers-random" if variant else "centers"
    key = centers(1)
    run.save("hasher", {"w": np.ones(2)}, parameters={}, fingerprint="f", inputs={source: key})
    assert run.load("hasher").meta["inputs"] == {source: key}
    centers(-1)
    with pytest.raises(ForeignArtifact, match=f"made from an earlier {source}, which has changed since; run"):
        run.load("hasher")
    centers(1)
    run.load("hasher")


def test_what_follows_over_several_steps_is_foreign_too(run):
    def chain(value):
        key = run.save("centers", {"codes": np.ones(2)}, parameters={"seed": value}, fingerprint="f")
        return run.save("hasher", {"w": np.ones(2)}, parameters={}, fingerprint="f", inputs={"centers": key})

    run.save("codes", {"query": np.ones(2)}, parameters={}, fingerprint="f", inputs={"hasher": chain(1)})
    run.load("codes")
    run.save("centers", {"codes": np.ones(2)}, parameters={"seed": 2}, fingerprint="f")
    with pytest.raises(ForeignArtifact, match=r"hasher\.safetensors was made from an earlier centers, .*notebook 04"):
        run.load("codes")
    run.file("centers").unlink()  # what is gone cannot contradict
    run.load("codes")


def test_fresh_is_an_equal_key(run):
    key = artifact_key({"mask": "true"}, "data", {})
    assert not run.fresh("similarity", key)
    save_similarity(run, mask="true")
    assert run.fresh("similarity", key)
    for other in (
        artifact_key({"mask": "predicted"}, "data", {}),
        artifact_key({"mask": "true"}, "data2", {}),
        artifact_key({"mask": "true"}, "data", {"statistics": "0"}),
    ):
        assert not run.fresh("similarity", other)
    run.file("similarity").write_bytes(b"")
    assert not run.fresh("similarity", key)


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.booleans()), st.randoms())
def test_the_key_does_not_depend_on_the_order_of_parameters(parameters, random):
    items = list(parameters.items())
    random.shuffle(items)
    assert artifact_key(parameters, "f", {}) == artifact_key(dict(items), "f", {})


def test_a_run_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "one").write_text("")
    with pytest.raises(RunError, match="is a file, not a run folder; choose another run name"):
        Run(tmp_path / "one")


# ------------------------------------------------------------------------------------------ damage


@pytest.fixture(scope="module", params=["similarity", "classifier"])
def stored(request, tmp_path_factory):
    """A run, an artifact's name, its bytes and its arrays, one for each file format."""
    run = Run(tmp_path_factory.mktemp("damage"))
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(20, 20)), "n": np.array(3)}
    run.save(request.param, arrays, parameters={"p": 1}, fingerprint="f")
    return run, request.param, run.file(request.param).read_bytes(), arrays


def read_or_refuse(run, name, arrays):
    """Loading either gives exactly what was saved or raises RunError; nothing else."""
    try:
        back = run.load(name)
    except RunError as error:
        assert str(run.file(name)) in str(error) and "run" in str(error)
        return "refused"
    assert back.arrays.keys() == arrays.keys()
    for key, value in arrays.items():
        np.testing.assert_array_equal(back[key], value)
    return "read"


@given(st.floats(0, 1), st.integers(1, 24), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_anywhere_are_refused_or_harmless(stored, place, length, seed):
    run, name, whole, arrays = stored
    rng = np.random.default_rng(seed)
    at = int(place * (len(whole) - 1))
    noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    run.file(name).write_bytes((whole[:at] + noise + whole[at + length :])[: len(whole)])
    read_or_refuse(run, name, arrays)
    assert run.fresh(name, "another key") is False


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(stored, share):
    run, name, whole, arrays = stored
    run.file(name).write_bytes(whole[: int(share * len(whole))])
    assert read_or_refuse(run, name, arrays) == "refused"


def test_one_changed_bit_in_the_weights_is_noticed(stored):
    run, name, whole, arrays = stored
    at = len(whole) - 40 if name == "classifier" else len(whole) // 2
    run.file(name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert read_or_refuse(run, name, arrays) == "refused"


@pytest.mark.parametrize("content", [b"", b"[]", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{}      ", b"no archive at all"])
def test_files_of_another_kind_are_refused(stored, content):
    run, name, _, arrays = stored
    run.file(name).write_bytes(content)
    assert read_or_refuse(run, name, arrays) == "refused"


def test_archives_without_our_record_are_refused(tmp_path):
    from safetensors.numpy import save_file

    run = Run(tmp_path)
    for meta in ("3", "{}", '{"key": "k"}'):
        np.savez(run.file("similarity"), S=np.eye(2), __meta__=np.array(meta))
        save_file({"w": np.eye(2)}, run.file("classifier"), metadata={"shc": meta})
        for name in ("similarity", "classifier"):
            with pytest.raises(RunError, match="delete it and run the notebook that makes it again"):
                run.load(name)
            assert not run.fresh(name, "x")
    save_file({"w": np.eye(2)}, run.file("classifier"))
    with pytest.raises(RunError, match="damaged or not one of our artifacts"):
        run.load("classifier")


def test_a_folder_in_the_place_of_an_artifact_is_told(run):
    run.file("similarity").mkdir(parents=True)
    with pytest.raises(RunError, match=r"similarity.npz could not be written"):
        save_similarity(run)
    with pytest.raises(RunError, match=r"similarity.npz is damaged"):
        run.load("similarity")


# ------------------------------------------------------------------------------------------ writing


def fail_with(monkeypatch, code, call="replace"):
    def failing(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(runs.os, call, failing)


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize(
    ("code", "told"),
    [(errno.ENOSPC, "the disk is full: .* free some space"), (errno.EROFS, "could not be written .*make the folder")],
)
def test_a_failed_write_leaves_the_old_file(run, monkeypatch, call, code, told):
    save_similarity(run, 1.0)
    before = run.file("similarity").read_bytes()
    with monkeypatch.context() as patch:
        fail_with(patch, code, call)
        with pytest.raises(RunError, match=told):
            save_similarity(run, 2.0)
    assert run.file("similarity").read_bytes() == before
    assert len(list(run.path.iterdir())) == 1, "the temporary file must go"


def test_a_disk_that_fills_while_safetensors_writes_is_told(run, monkeypatch):
    import safetensors.numpy

    def full(*arguments, **named):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(RunError, match="the disk is full"):
        run.save("classifier", {"w": np.ones(2)}, parameters={}, fingerprint="f")


def test_a_run_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not be written .*choose another run folder"):
        save_similarity(Run(tmp_path / "file" / "run"))


def test_an_interrupted_write_leaves_no_trace(tmp_path):
    def interrupted(file):
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "f.txt", interrupted)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------ checkpoints


def test_checkpoint_round_trip_with_scalars(run):
    tensors = {"model.w": torch.randn(2, 3), "optimizer.0.step": torch.tensor(5.0), "n": torch.tensor(3)}
    checkpoint = run.checkpoint("classifier", "key")
    assert checkpoint.load() is None
    checkpoint.save(tensors, {"epoch": 2, "best": float("-inf"), "history": [{"val": None, "loss": 0.1}]})
    back, state = checkpoint.load()
    assert state == {"epoch": 2, "best": float("-inf"), "history": [{"val": None, "loss": 0.1}]}
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor) and back[name].shape == tensor.shape
    assert run.checkpoint("classifier", "other key").load() is None
    checkpoint.remove()
    assert checkpoint.load() is None and not (run.path / "checkpoints").exists()
    checkpoint.remove()


def test_a_damaged_checkpoint_is_as_good_as_none(run):
    checkpoint = run.checkpoint("classifier", "key")
    checkpoint.save({"w": torch.ones(100)}, {"epoch": 1})
    whole = checkpoint.file.read_bytes()
    for content in (whole[:-10], whole[:-1] + b"\x01", b""):
        checkpoint.file.write_bytes(content)
        assert checkpoint.load() is None


# ------------------------------------------------------------------------------------------ results, parameters


def test_results_and_parameters_merge(run):
    assert run.results() == {} and run.parameters() == {}
    run.add_results(a=1, b={"x": 2})
    run.add_results(b=3)
    assert run.results() == {"a": 1, "b": 3}
    run.add_parameters("data", {"data": "emoji", "scale": 0.5})
    run.add_parameters("centers", {"min_distance": "12"})
    assert run.parameters() == {"data": {"data": "emoji", "scale": 0.5}, "centers": {"min_distance": "12"}}


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": ', "\x00"])
def test_damaged_results_are_told(run, content):
    run.path.mkdir(parents=True)
    (run.path / "results.json").write_text(content)
    with pytest.raises(RunError, match=r"results\.json .*delete it and run the notebooks again"):
        run.results()


@pytest.mark.parametrize("content", [b"a: [", b"- 1", b"text", b"\xff\xfe\x00", b"!!python/object/apply:os.getcwd []"])
def test_damaged_parameters_are_told(run, content):
    run.path.mkdir(parents=True)
    (run.path / "params.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"params\.yaml .*delete it and run notebook 01 again"):
        run.parameters()


def test_a_figure_is_saved_with_its_alternative_text(run):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.alt = "a curve that falls"
    file = run.save_figure(figure, "loss")
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.with_suffix(".txt").read_text() == "a curve that falls"
    run.save_figure(Figure(), "bit_balance")
    assert (run.path / "figures" / "bit_balance.txt").read_text() == "bit balance"


def test_metadata_can_be_read_without_this_package(run):
    save_similarity(run, mask="true")
    with np.load(run.file("similarity")) as archive:
        assert json.loads(str(archive["__meta__"]))["parameters"] == {"mask": "true"}
