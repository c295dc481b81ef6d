"""Fuzzing of what we write ourselves: parameters, sweep files, the records of a run.

Every target reads a valid input first, so that refusing all of them would not pass.
"""

import json

import fake_notebooks as fake
import numpy as np
import yaml
from fuzzing import PLAIN, TEXTS, VALUES, accepted, altered, damaged, dumped, fuzz, restored
from hypothesis import strategies as st
from test_verify import run as run  # a run with an artifact of every kind

from shc import pipeline, report, runs, sweep_file
from shc.files import read_arrays, write_arrays
from shc.parameters import TYPES, check_values, parameters_of, parse_settings
from shc.runs import ARTIFACTS, Run
from shc.sweep_file import read_sweep
from shc.verify import verify

CELL = "epochs: int = 3  # how long\nlr: float = 1e-3\nname: str = 'a'  # b\nsizes: list = [1, 2]\nlive: bool = True"


def literal(draw):
    """A value as Python, YAML and the command line write it, or nearly."""
    return draw(st.one_of(VALUES.map(repr), PLAIN.map(str), st.sampled_from(TEXTS)))


# ------------------------------------------------------------------------------------------ parameters


def line(draw):
    """A line of a parameters cell, or nearly."""
    magic = draw(st.sampled_from(("", "", "", "%time ", "!echo ", "# ", "\t", "if 1: ")))
    name = draw(st.sampled_from(("bits", "a.b", "a[0]", "class", "", "é", "bits: int")))
    kind = draw(st.sampled_from((*TYPES, "int | None", "list[int]", "object", "exec('1')", "")))
    end = draw(st.sampled_from(("", "  # help", "; x = 1", " \\", "\f")))
    return f"{magic}{name}: {kind} = {literal(draw)}{end}"


def test_cells_of_parameters(tmp_path):
    def read(cells):
        for parameter in parameters_of({"cells": cells}).values():
            assert parameter.kind in TYPES and isinstance(parameter.name, str) and isinstance(parameter.help, str)
            assert isinstance(parameter.default, (float, int) if parameter.kind == "float" else TYPES[parameter.kind])

    def prepare(draw):
        lines = CELL.splitlines()
        for _ in range(draw(st.integers(0, 2))):
            lines.insert(draw(st.integers(0, len(lines))), line(draw))
        text = "\n".join(lines)
        if draw(st.booleans()):
            text = damaged(draw, text.encode(errors="surrogatepass")).decode(errors="surrogateescape")
        cells = [fake.parameters(CELL) | {"source": text}]
        if not draw(st.integers(0, 3)):
            cells = altered(draw, cells, times=1)
        return lambda: read(cells)

    assert accepted(lambda: read([fake.parameters(CELL)]), tmp_path)
    assert fuzz("parameters: cells", prepare, tmp_path, few=5)["accepted"]


def test_settings_of_the_command_line(tmp_path):
    known = pipeline.all_parameters()
    names = sorted({name for parameters in known.values() for name in parameters})

    def prepare(draw):
        settings = []
        for _ in range(draw(st.integers(1, 3))):
            name = draw(st.one_of(st.sampled_from(names), st.sampled_from(TEXTS), st.just(names[0] + "x")))
            settings.append(f"{name}{draw(st.sampled_from(('=', '=', '=', '', ' = ', '==')))}{literal(draw)}")
        return lambda: check_values(parse_settings(settings, known))

    assert accepted(lambda: check_values(parse_settings(["bits=64", "lr=1e-3"], known)), tmp_path)
    fuzz("parameters: settings", prepare, tmp_path, few=5)


# ------------------------------------------------------------------------------------------ sweep files

SWEEP = {
    "name": "few", "notebook": "method_run", "set": {"scale": 0.2}, "shared": ["data", "seed"],
    "cells": [{"method": ["shc", "csq"], "bits": [16, 32], "seed": [0, 1]}, {"name": "long", "hasher_epochs": 20}],
}  # fmt: skip
ODD_YAML = (
    "&a [1]", "*a", "<<: *a", "!!python/object/apply:os.system [ls]", "!!binary aGk=", "? [1, 2]\n: 3", "- - - 1",
    "---", "%YAML 9.9", "!!set {a, b}", "2001-99-99", "1:1:1", "\t", "{", "!!timestamp x", "'", "|\n", "0o17",
)  # fmt: skip


def test_sweep_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_file, "MOST_CELLS", 30)  # every cell takes a millisecond to check
    file = tmp_path / "few.yaml"

    def read():
        sweep = read_sweep(file)
        assert len({cell.id for cell in sweep.cells}) == len(sweep.cells) > 0
        assert sweep.folder.parent == pipeline.runs_folder().resolve()
        assert all(sweep.resolved(cell.values) for cell in sweep.cells)

    def prepare(draw):
        content = SWEEP if draw(st.booleans()) else altered(draw, SWEEP)
        text = yaml.safe_dump(content, sort_keys=False).encode(errors="surrogatepass")
        if draw(st.booleans()):
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.sampled_from(ODD_YAML)).encode() + text[at:]
        file.write_bytes(damaged(draw, text) if draw(st.booleans()) else text)
        return read

    file.write_text(yaml.safe_dump(SWEEP))
    assert accepted(read, tmp_path)
    assert fuzz("sweep files", prepare, tmp_path)["accepted"]


# ------------------------------------------------------------------------------------------ a run's records


def test_records_of_a_run(run, tmp_path):
    (run.path / "notebooks" / "stamps.json").write_text('{"03_hash_centers": "1f"}')
    run.add_results(headlines={"03_hash_centers": "12 bits"}, table=[["mAP"], [0.5]], seconds={"a": 1.5})
    whole = tmp_path / "whole"
    restored(run.path, whole)
    cell = {"status": "finished", "parameters": {}, "seconds": 1.5}

    def read(folder, shown):
        there = Run(folder)
        for finding in verify(shown):
            assert finding.told and (finding.good or finding.remedy or finding.file == "manifest.json")
        tried = [there.parameters, there.results, lambda: there.checkpoint("hasher", "k").load()]
        tried += [lambda: report.index(there, {}), lambda: pipeline.made_with(there)]
        tried += [lambda n=name: there.load(n, fingerprint="f") for name in ARTIFACTS if there.file(name).exists()]
        wrong = [error for one in tried if (error := refusal(one))]
        if wrong:
            raise wrong[0]

    def prepare(draw):
        folder = restored(whole, tmp_path / "sweep" / "one")
        (folder / "cell.json").write_bytes(dumped(cell))
        files = sorted(f for f in folder.rglob("*") if f.is_file())
        file = draw(st.sampled_from(files))
        kind = draw(st.sampled_from(("bytes", "inside", "inside", "inside")))
        if kind == "bytes" or file.suffix in (".png", ".txt"):
            file.write_bytes(damaged(draw, file.read_bytes()))
        elif file.suffix in (".json", ".ipynb"):
            file.write_bytes(dumped(altered(draw, json.loads(file.read_bytes()))))
        elif file.suffix == ".yaml":
            file.write_text(yaml.safe_dump(altered(draw, yaml.safe_load(file.read_text()))))
        else:  # with a checksum, and often a key, that fit what is forged
            arrays, meta = read_arrays(file)
            meta = altered(draw, meta) if draw(st.booleans()) else meta
            arrays = forged(draw, arrays) if draw(st.booleans()) else arrays
            if (
                isinstance(meta, dict)
                and draw(st.booleans())
                and {"parameters", "fingerprint", "inputs"} <= meta.keys()
            ):
                try:
                    meta["key"] = runs.artifact_key(meta["parameters"], meta["fingerprint"], meta["inputs"])
                except (TypeError, ValueError):
                    pass
            write_arrays(file, arrays, meta)
        shown = folder.parent if file.name == "cell.json" or draw(st.booleans()) else folder  # as a sweep, as a run
        return lambda: read(folder, shown)

    folder = restored(whole, tmp_path / "sweep" / "one")
    (folder / "cell.json").write_bytes(dumped(cell))
    assert accepted(lambda: read(folder, folder.parent), tmp_path) and accepted(lambda: read(folder, folder), tmp_path)
    assert all(finding.good for finding in verify(folder.parent))
    assert fuzz("manifests: records of a run", prepare, tmp_path / "sweep")["accepted"]


def refusal(read):
    """The ValueError that reading raises, if it does."""
    try:
        read()
    except ValueError as error:
        return error
    return None


ODD_ARRAYS = (
    np.zeros(0), np.zeros((0, 5)), np.array(1, np.float32), np.array([np.nan]), np.zeros((2,) * 9), np.array([True]),
    np.array([2**63], np.uint64), np.ones(3, np.float16), np.array([[-1, 300]]),
)  # fmt: skip


def forged(draw, arrays):
    """Arrays of which one is another, is gone, has another type or shape, or another name."""
    arrays = dict(arrays)
    key = draw(st.sampled_from(sorted(arrays)))
    kind = draw(st.sampled_from(("other", "gone", "type", "shape", "name")))
    if kind == "other":
        arrays[key] = draw(st.sampled_from(ODD_ARRAYS))
    elif kind == "gone":
        del arrays[key]
    elif kind == "type":
        arrays[key] = arrays[key].astype(draw(st.sampled_from(("f4", "f8", "i1", "u1", "i8", "?"))))
    elif kind == "shape":
        arrays[key] = arrays[key].reshape(draw(st.sampled_from(((-1,), (1, -1), (-1, 1, 1)))))
    else:
        arrays[draw(st.sampled_from(("w", "x/../y", "é" * 9, "S", "a" * 300)))] = arrays.pop(key)
    return arrays
