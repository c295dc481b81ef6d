"""Sweep files, and the table that notebook 07 reads."""

import numpy as np
import pandas as pd
from bad_inputs import Case, of_command, of_function

from shc import frames, sweep_file

# what is wrong, the file, words; every one is `shc sweep s.yaml`
FILES = (
    ("empty", "", "must hold `cells:`"),
    ("a list", "- {bits: 8}", "must hold `cells:`"),
    ("a text", "bits", "must hold `cells:`"),
    ("brackets without end", "cells: [{bits: 8", "line 1 & not readable YAML"),
    ("a tab", "cells:\n\t- {bits: 8}", "line 2 & not readable YAML"),
    ("an unknown key", "{cell: [{bits: 8}]}", "'cell' & did you mean 'cells'"),
    ("a key that is a number", "{1: 2, cells: [{bits: 8}]}", "unknown key 1"),
    ("a key twice", "cells: [{bits: 8}]\ncells: [{bits: 16}]", "'cells' & twice"),
    ("a parameter twice", "cells: [{bits: 8, bits: 16}]", "'bits' & twice"),
    ("an object of Python", "cells: !!python/object/apply:os.system [ls]", "python/object/apply:os.system"),
    ("an unknown tag", "cells: !cells [{bits: 8}]", "!cells"),
    ("too deep", "cells: " + "[" * 60 + "]" * 60, "more than 50 times"),
    ("endless lists", f"cells: [{{bits: {[*range(400)]}, seed: {[*range(400)]}}}]", "more than 100,000 cells"),
    ("two documents", "cells: [{bits: 8}]\n---\ncells: []", "not readable YAML & document"),
    ("no cells", "{set: {bits: 8}}", "cells: must be a list of blocks"),
    ("cells of none", "{cells: }", "cells: must be a list of blocks"),
    ("an empty list of cells", "{cells: []}", "cells: must be a list of blocks"),
    ("cells that are a mapping", "{cells: {bits: 8}}", "cells: must be a list of blocks"),
    ("a cell that is a number", "{cells: [{bits: 8}, 3]}", "block 2 of cells & not 3"),
    ("a cell that is a list", "{cells: [[1, 2]]}", "block 1 of cells & [1, 2]"),
    ("a list without values", "{cells: [{bits: []}]}", "no value for 'bits'"),
    ("set as a list", "{set: [bits], cells: [{}]}", "set: must hold & ['bits']"),
    ("a name that is a number", "{name: 3, cells: [{}]}", "name: 3 is not a text"),
    ("a name that leaves the folder", "{name: ../x, cells: [{}]}", "'../x'"),
    ("an empty name", "{name: '', cells: [{}]}", "run name ''"),
    ("a hidden name", "{name: .ssh, cells: [{}]}", "'.ssh'"),
    ("an unknown notebook", "{notebook: method, cells: [{}]}", "'method' & did you mean 'method_run'"),
    ("a notebook that is a number", "{notebook: 3, cells: [{}]}", "notebook: 3"),
    ("a notebook that is not there", "{notebook: ./x.ipynb, cells: [{}]}", "no notebook ./x.ipynb"),
    ("a notebook that is none", "{notebook: ./s.yaml, cells: [{}]}", "s.yaml is not a readable notebook"),
    ("a folder as a notebook", "{notebook: ./runs, cells: [{}]}", "no notebook ./runs"),
    ("an unknown shared parameter", "{shared: [sed], cells: [{}]}", "'sed' & did you mean 'seed'"),
    ("a shared number", "{shared: 3, cells: [{}]}", "shared: must be a list of parameters, not 3"),
    ("shared of a notebook without", "{notebook: 03_hash_centers, shared: [bits], cells: [{}]}", "base and base_only"),
    ("what a sweep fills in", "{cells: [{run: x}]}", "run is filled in by the sweep"),
    ("what a sweep fills in, for all", "{set: {base: x}, cells: [{}]}", "base is filled in by the sweep"),
    ("an unknown parameter", "{cells: [{bitz: 8}]}", "'bitz' & did you mean 'bits'"),
    ("an unknown parameter for all", "{set: {sed: 1}, cells: [{}]}", "'sed' & did you mean 'seed'"),
    ("a text for a number", "{cells: [{bits: many}]}", "bits='many' & cell 1"),
    ("a number for a text", "{cells: [{method: 3}]}", "method=3 & quotes"),
    ("a half for a whole number", "{cells: [{bits: 8.5}]}", "bits=8.5 & int"),
    ("no as a method", "{cells: [{method: no}]}", "method=False"),
    ("a date", "{cells: [{method: 2026-01-02}]}", "method=datetime.date(2026, 1, 2)"),
    ("nothing for a seed", "{cells: [{seed: }]}", "seed=None"),
    ("no number", "{cells: [{hasher_lr: .nan}]}", "hasher_lr=nan"),
    ("a list in a list", "{cells: [{bits: [[8, 16]]}]}", "bits=[8, 16]"),
    ("a number beyond all", "{cells: [{seed: 123456789012345678901234567890}]}", "seed=12345678901234567890"),
    ("an unknown method", "{cells: [{method: [shc, csqq]}]}", "'csqq' & did you mean 'csq' & cell 2"),
    ("an unknown hyper-parameter", "{cells: [{options: gama=1}]}", "'gama' & did you mean 'gamma'"),
    ("a hyper-parameter of another method", "{cells: [{method: itq, options: gamma=1}]}", "'gamma' & 'itq'"),
    ("too few bits", "{cells: [{bits: [4, 32]}]}", "100 classes & 4 bits & cell 1"),
    ("an impossible distance", "{cells: [{bits: 16, min_distance: '9'}]}", "min_distance=9 & at most 6"),
    ("a distance as a number", "{cells: [{min_distance: 9}]}", "min_distance=9 & quotes"),
    ("a fold that is not there", "{cells: [{fold: [0, 6]}]}", "fold=6 & cell 2"),
    ("an unknown protocol", "{cells: [{protocol: open}]}", "protocol='open'"),
    ("an unknown solver", "{cells: [{solver: cplex}]}", "solver='cplex'"),
    ("a share above 1", "{cells: [{scale: 2}]}", "scale=2.0"),
    ("centers for a method without", "{cells: [{method: lsh, centers: random}]}", "'lsh' has no centers"),
    ("a negative seed", "{cells: [{seed: -1}]}", "seed=-1"),
    ("files that are not there", "{cells: [{data: coco, root: nowhere}]}", "nowhere is no folder"),
    ("a parameter of the sequence", "{notebook: 05_retrieval, cells: [{neighbors: 0}]}", "neighbors=0"),
    ("no text at all", b"\xff\xfe\x00cells", "not readable"),
    ("NUL", b"cells: [{bits: 8}]\x00", "not readable"),
)  # fmt: skip


def write(place, content):
    (place / "s.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())


def refused_options(place):
    write(place, "{cells: [{bits: 8}]}")
    (place / "runs" / "taken").mkdir()
    (place / "runs" / "taken" / "params.yaml").write_text("{}")
    (place / "taken.yaml").write_text("{cells: [{bits: 8}]}")


def row(**changes):
    text = {name: "x" for name in frames.TEXT} | dict(method="shc", codes="hashed", split="query")
    return text | {name: 1 for name in frames.NUMBERS} | {name: False for name in frames.FLAGS} | changes


def table(place, **changes):
    pd.DataFrame([row(**changes), row(**changes)]).to_csv(place / "t.csv", index=False)


FRAME = pd.DataFrame([row(seed=seed, bits=32, label="shc") for seed in (0, 1)])


def read_table(what, words, **changes):
    return Case(
        "shc.frames.read_frame", what, lambda place: frames.read_frame(place / "t.csv"), words,
        lambda place: table(place, **changes),
    )  # fmt: skip


CASES = [
    *(
        Case("sweep file", what, "sweep s.yaml", words, lambda place, content=content: write(place, content))
        for what, content, words in FILES
    ),
    *of_command(
        "sweep",
        ("no file", "", "FILE"),
        ("a file that is not there", "nowhere.yaml", "no file nowhere.yaml"),
        ("a folder", "runs", "runs is not readable"),
        ("no processes", "s.yaml --jobs 0", "--jobs 0"),
        ("processes in words", "s.yaml --jobs all", "'all'"),
        ("the name of a run", "taken.yaml", "runs/taken is a run of the notebook sequence"),
        ("the list of what is not there", "nowhere.yaml --list", "no file nowhere.yaml"),
        ("a table in no folder", "s.yaml --table s.yaml/t.csv", "s.yaml/t.csv"),
        prepare=refused_options,
    ),
    Case(
        "shc.sweep_file.read_sweep", "a named pipe", lambda place: sweep_file.read_sweep(place / "pipe"), "pipe",
        lambda place: __import__("os").mkfifo(place / "pipe"),
    ),
    read_table("bits that are no number", "row 2 & bits='many'", bits="many"),
    read_table("a score that is no number", "mAP@ALL='good'", **{"mAP@ALL": "good"}),
    read_table("a flag that is none", "frozen='perhaps'", frozen="perhaps"),
    read_table("no bits at all", "bits", bits=""),
    read_table("half a bit", "bits", bits=8.5),
    read_table("infinitely many bits", "bits", bits=np.inf),
    *(
        Case(
            "shc.frames.read_frame", what, lambda place: frames.read_frame(place / "t.csv"), words,
            lambda place, content=content: (place / "t.csv").write_bytes(content),
        )
        for what, content, words in (
            ("an empty file", b"", "t.csv"),
            ("a table without its columns", b"bits,seed\n8,0\n", "t.csv lacks the columns block"),
            ("no text", b"\x89PNG\r\n\xff\xfe\x00\x00", "t.csv"),
            ("rows of other lengths", b"bits,seed\n1,2,3,4\n1\n5,6,7,8,9\n", "t.csv"),
        )
    ),
    Case("shc.frames.read_frame", "no file", lambda place: frames.read_frame(place / "t.csv"), "t.csv"),
    Case("shc.frames.read_frame", "a folder", lambda place: frames.read_frame(place), "is not a file"),
    *of_function(
        "shc.frames.block", frames.block, dict(frame=FRAME, name="x"),
        ("an unknown parameter", dict(varied=["bitz"]), "'bitz' & bits"),
    ),
    *of_function(
        "shc.frames.check_metric", frames.check_metric, dict(frame=FRAME, metric="mAP@ALL"),
        ("an unknown metric", dict(metric="mAP"), "'mAP'"),
        ("a column that is no metric", dict(metric="method"), "'method'"),
    ),
]  # fmt: skip
