"""SIGKILL at any moment of every long command: nothing damaged is let in, nothing finished is lost, nobody repairs.

Commands are killed at random moments and at random writes, started again, killed again, until they end; what they then
have made is, bit for bit, what they make undisturbed.
"""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import fake_notebooks as fake
import numpy as np
import psutil
import pytest
import reliability

import shc
from shc import pipeline
from shc.locks import LOCK
from shc.presets import preset_values
from shc.runs import Run, RunError, read_arrays, read_json
from shc.shards import EncodedStore
from shc.verify import verify

ROOT = Path(shc.__file__).resolve().parent.parent
TINY = preset_values("tiny")


@dataclass
class Tally:
    """What was counted for a command; all but the first are to be 0."""

    kills: int = 0
    corrupt_accepted: int = 0  # files that a reader takes, with another content than they should have
    damaged_left: int = 0  # files that `shc verify` objects to
    stages_lost: int = 0  # finished, and made anew
    repairs_by_hand: int = 0  # starts that ended otherwise than well

    def record(self, name):
        reliability.count("kills", name, **asdict(self))
        assert asdict(self) | {"kills": 0} == asdict(Tally()), self


def contents(folder):
    """Every array of a run's artifacts by file, without the seconds that something took."""
    return {
        file.name: {k: v for k, v in read_arrays(file)[0].items() if k != "history_seconds"}
        for file in [*folder.glob("*.npz"), *folder.glob("*.safetensors")]
    }


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def objections(folder):
    try:
        return [finding for finding in verify(folder) if not finding.good and " lacks " not in finding.told]  # shards
    except RunError as error:
        assert "holds no artifacts" in str(error) or "is not there" in str(error)
        return []


def wait_for_lock(folder, seconds=15):
    """Until nobody holds a folder; without taking the lock, so that what a kill left stays as it is."""
    end = time.monotonic() + seconds
    while (folder / LOCK).exists():
        with open(folder / LOCK) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < end, f"somebody still holds {folder}"
        time.sleep(0.05)


def written(files):
    return {file: file.stat().st_mtime_ns for file in files}


# ------------------------------------------------------------------------------------------ commands, one by one

SET = [f"{name}={TINY[name]}" for name in ("scale", "size", "epochs", "batch")] + ["threads=1"]
HASHER = [f"hasher_epochs={TINY['hasher_epochs']}", f"batch={TINY['batch']}", "threads=1"]
TRAIN = ["train", "--run", "run", "--device", "cpu", "--stage"]
STEPS = {  # in this order, in one folder
    "train classifier": ("shc", *TRAIN, "classifier", *(word for s in SET for word in ("--set", s))),
    "centers": ("stage 2", "run"),
    "train hasher": ("shc", *TRAIN, "hasher", *(word for s in HASHER for word in ("--set", s))),
    "encode": (
        "shc", "encode", "--run", "run", "--split", "database", "--out", "codes", "--shard", "60", "--device", "cpu",
    ),
    "report": ("shc", "report", "--name", "run"),
}  # fmt: skip
FINISHED = {  # the files by which a step of a run is finished
    "classifier": ("classifier.safetensors", "statistics.npz"),
    "centers": ("centers.npz",),
    "random centers": ("centers-random.npz",),
    "hasher": ("hasher.safetensors", "codes.npz"),
}


def begin(folder):
    """A folder for a run that somebody has executed notebooks of, for its report."""
    cells = [fake.markdown("# A title"), fake.code("draw()", fake.picture("a picture"), count=1)]
    for name in pipeline.SEQUENCE[:4]:
        fake.write(folder / "run" / "notebooks" / f"{name}.ipynb", fake.notebook(*cells))
    return folder


@pytest.fixture(scope="module")
def whole(forks, tmp_path_factory):
    """What the commands make undisturbed: the folder, and how each ended."""
    folder = begin(tmp_path_factory.mktemp("whole"))
    ended = {name: forks.run(*step, cwd=folder) for name, step in STEPS.items()}
    assert {name: end.code for name, end in ended.items()} == dict.fromkeys(STEPS, 0), ended
    assert not objections(folder / "run") and not objections(folder / "codes")
    return folder, ended


class Chain:
    """The commands in a folder of their own, each killed until it ends."""

    def __init__(self, forks, folder, whole, chance):
        self.forks, self.folder, self.chance = forks, begin(folder), chance
        self.whole, self.ended = whole
        self.wanted = contents(self.whole / "run")
        self.kept = {}  # files of what is finished, and when they were written

    def go_through(self, name, tally, kills):
        """Start the command until it ends; at most `kills` of the starts are killed."""
        for left in range(kills, -1, -1):
            ended = self.forks.run(*STEPS[name], cwd=self.folder, **(self.moment(name) if left else {}))
            tally.kills += ended.killed
            self.look(tally)
            if not ended.killed:
                if ended.code:
                    tally.repairs_by_hand += 1
                assert ended.code == 0, ended.told
                return

    def moment(self, name):
        """When to kill: after so many seconds, or at one of the next writes."""
        if self.chance.random() < 0.5:
            return {"seconds": self.chance.uniform(0, self.ended[name].seconds)}
        most = min(self.ended[name].writes, 5)
        return {"write": self.chance.randint(1, most), "after": self.chance.random() < 0.5}

    def look(self, tally):
        """Count what a kill has done to the folder."""
        run, codes = self.folder / "run", self.folder / "codes"
        wait_for_lock(run, seconds=0)
        tally.damaged_left += len(objections(run)) + (len(objections(codes)) if codes.exists() else 0)
        found = contents(run)
        tally.corrupt_accepted += sum(not same(arrays, self.wanted[name]) for name, arrays in found.items())
        shards = sorted(codes.glob("codes-*"))
        pages = [run / "index.html", *(run / "notebooks").glob("*.html")]
        made = [*shards, *(file for file in pages if file.exists())]
        tally.corrupt_accepted += sum(
            file.read_bytes() != (self.whole / file.relative_to(self.folder)).read_bytes() for file in made
        )
        done = [files for files in FINISHED.values() if all((run / file).exists() for file in files)]
        now = written([*(run / file for files in done for file in files), *shards])
        tally.stages_lost += sum(now.get(file) != when for file, when in self.kept.items())
        self.kept = now

    def check_end(self):
        run, whole = Run(self.folder / "run"), Run(self.whole / "run")
        found = contents(run.path)
        assert found.keys() == self.wanted.keys() and all(same(found[name], self.wanted[name]) for name in found)
        assert run.parameters() == whole.parameters()
        assert {name: read_arrays(run.path / name)[1]["key"] for name in found} == {
            name: read_arrays(whole.path / name)[1]["key"] for name in found
        }
        store, other = EncodedStore(self.folder / "codes"), EncodedStore(self.whole / "codes")
        assert not store.missing() and (store.codes() == other.codes()).all()
        assert (run.path / "index.html").read_bytes() == (whole.path / "index.html").read_bytes()


def test_commands_killed_at_any_moment_go_on_to_the_same_bits(forks, whole, tmp_path):
    wanted = dict(zip(STEPS, reliability.number([2, 1, 2, 2, 1], [20, 8, 20, 26, 20]), strict=True))
    chance, tallies = random.Random(9), {name: Tally() for name in STEPS}
    for attempt in range(100):
        chain = Chain(forks, tmp_path / str(attempt), whole, chance)
        for name, tally in tallies.items():
            chain.go_through(name, tally, min(wanted[name] - tally.kills, 4))
        chain.check_end()
        shutil.rmtree(chain.folder)
        if all(tally.kills >= wanted[name] for name, tally in tallies.items()):
            break
    assert {name: tally.kills for name, tally in tallies.items()} == wanted
    for name, tally in tallies.items():
        tally.record(f"shc {name}" if STEPS[name][0] == "shc" else name)


@pytest.mark.skipif(not reliability.FULL, reason="a run for each write takes minutes: make reliability")
def test_a_run_killed_at_every_fourth_of_its_writes_goes_on_to_the_same_bits(forks, tmp_path):
    whole = forks.run("whole run", "run", cwd=tmp_path)
    assert whole.code == 0, whole.told
    wanted, parameters, tally = contents(tmp_path / "run"), Run(tmp_path / "run").parameters(), Tally()
    writes = range(1, whole.writes + 1, 4)
    for write in writes:
        shutil.rmtree(tmp_path / "run")
        ended = forks.run("whole run", "run", cwd=tmp_path, write=write, after=write % 8 == 1)
        tally.kills += ended.killed
        wait_for_lock(tmp_path / "run", seconds=0)
        tally.damaged_left += len(objections(tmp_path / "run"))
        tally.corrupt_accepted += sum(not same(v, wanted[k]) for k, v in contents(tmp_path / "run").items())
        ended = forks.run("whole run", "run", cwd=tmp_path)
        tally.repairs_by_hand += ended.code != 0
        assert contents(tmp_path / "run").keys() == wanted.keys()
        assert all(same(arrays, wanted[name]) for name, arrays in contents(tmp_path / "run").items())
        assert Run(tmp_path / "run").parameters() == parameters and ended.told == whole.told
    assert tally.kills == len(writes) > 5
    tally.record("all stages in one process")


# ------------------------------------------------------------------------------------------ commands with kernels


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "shc", *arguments], cwd=folder, start_new_session=True, text=True,
        env={**os.environ, "SHC_RUNS": str(folder / "runs"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def killed_when(process, done, folder, enough, delay, kernels_too):
    """Whether the process had to be killed, so many seconds after it had done enough in the folder.

    Its kernels are groups of their own; those that are spared end by themselves when they see that they are alone.
    """
    while process.poll() is None and done(folder) < enough:
        time.sleep(0.02)
    try:
        process.wait(delay)
        return False
    except subprocess.TimeoutExpired:
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        for kernel in started if kernels_too else ():
            with suppress(psutil.NoSuchProcess):
                kernel.kill()
        process.communicate()
        return True


IMPORTS = "import time\nimport numpy as np\nfrom shc.runs import Run\nRun, rng = Run(run), np.random.default_rng(0)\n"
PRETEND = {  # notebooks that leave artifacts like the real ones in no time, each with a pause in which to be killed
    "01_classifier": """Run.add_parameters("data", {"data": "none"})
key = Run.save("classifier", {"w": rng.normal(size=9)}, parameters={"epochs": 1}, fingerprint="f")
time.sleep(0.4)
logits, labels = rng.normal(size=(6, 2)), np.arange(6) % 2
Run.save("statistics", dict(logits=logits, labels=labels, feature_means=np.ones((2, 3))), parameters={},
         fingerprint="f", inputs={"classifier": key})""",
    "02_class_similarity": """key = Run.load("statistics").key
time.sleep(0.4)
Run.save("similarity", {"S": np.eye(2)}, parameters={}, fingerprint="f", inputs={"statistics": key})""",
    "03_hash_centers": """made = dict(parameters={"bits": 4}, fingerprint="f", extra={"min_distance": 4, "loss": 0.5},
            inputs={"similarity": Run.load("similarity").key})
codes = np.array([[1, 1, -1, -1], [-1, -1, 1, 1]], np.int8)
Run.save("centers", {"codes": codes}, **made)
time.sleep(0.4)
Run.save("centers", {"codes": -codes}, variant="random", **made)""",
    "04_hashing_network": """for variant in ("", "random"):
    centers = "centers-random" if variant else "centers"
    key = Run.save("hasher", {"w": rng.normal(size=5)}, parameters={}, fingerprint="f", variant=variant,
                   inputs={centers: Run.load("centers", variant).key})
    time.sleep(0.4)
    Run.save("codes", {"query": rng.integers(0, 16, (5, 1)).astype(np.uint8) * 16}, parameters={"bits": 4},
             fingerprint="f", variant=variant, inputs={"hasher-random" if variant else "hasher": key})""",
}


def finished_notebooks(run):
    """When the executed notebooks that the run counts as finished, and their artifacts, were written."""
    found = {}
    for name in read_json(run / "notebooks" / "stamps.json"):
        files = [Run(run).file(*made.split("-")) for made in pipeline.MAKES.get(name, ())]
        found |= written([run / "notebooks" / f"{name}.ipynb", *files])
    return found


def stamped(run):
    """How many notebooks are finished."""
    return len(read_json(run / "notebooks" / "stamps.json"))


def test_the_notebook_sequence_goes_on_after_kills(tmp_path):
    whole = tmp_path / "whole" / "runs" / "one"
    if reliability.FULL:  # the real notebooks
        begin, options, kills, pause = lambda folder: folder.mkdir(), ["--preset", "tiny", "--set", "device=cpu"], 8, 6
        begin(tmp_path / "whole")
        process = start(tmp_path / "whole", "run", "--name", "one", *options)
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0, told
    else:
        cells = {name: [fake.code(IMPORTS + text)] for name, text in PRETEND.items()}
        begin, options, kills, pause = lambda folder: fake.write_sequence(folder, **cells), [], 1, 2
        for text in PRETEND.values():
            exec(IMPORTS + text, {"run": str(whole)})
    wanted, chance, tally, attempt = contents(whole), random.Random(9), Tally(), 0
    assert len(wanted) >= 8
    while tally.kills < kills:
        folder, kept, ended, attempt = tmp_path / str(attempt), {}, False, attempt + 1
        begin(folder)
        run = folder / "runs" / "one"
        while not ended:
            last, spared = tally.kills == kills, chance.random() < 0.5
            enough = stamped(run) + chance.randint(0, 2)
            process = start(folder, "run", "--name", "one", *options)
            delay = 600 if last else chance.uniform(0, pause)
            ended = not killed_when(process, stamped, run, enough, delay, kernels_too=not spared)
            tally.kills += not ended
            wait_for_lock(run)
            tally.damaged_left += len(objections(run))
            tally.corrupt_accepted += sum(not same(v, wanted[k]) for k, v in contents(run).items())
            tally.stages_lost += sum(file.stat().st_mtime_ns != when for file, when in kept.items())
            kept = finished_notebooks(run)
        told = process.stdout.read()
        tally.repairs_by_hand += process.returncode != 0
        assert process.returncode == 0, told
        found = contents(run)
        assert found.keys() == wanted.keys() and all(same(found[name], wanted[name]) for name in found)
        assert (run / "index.html").exists() and not list((run / "notebooks").glob(".*.json"))
    tally.record("shc run")


CELL = """import numpy as np, time
from shc.runs import Run
with open(f"{run}/executions", "a") as log:
    log.write("1")
time.sleep(0.3)
S = np.eye(2) * 1.0
Run(run).save("similarity", {"S": S}, parameters={"seed": seed}, fingerprint="f")
Run(run).add_results(rows=[{"value": float(np.random.default_rng(seed).normal())}])"""
COLUMNS = 'run: str = "../runs/one"  # run folder\nseed: int = 0  # of the number'


def told_cells(sweep):
    """How many cells have ended."""
    return len(list(sweep.glob("*/cell.json")))


def test_a_sweep_goes_on_after_kills(tmp_path):
    cells, kills = reliability.number((3, 1), (8, 12))

    def begin(folder):
        fake.write(folder / "cell.ipynb", fake.notebook(fake.parameters(COLUMNS), fake.code(CELL)))
        seeds = list(range(cells))
        (folder / "many.yaml").write_text(f"notebook: ./cell.ipynb\ncells: [{{seed: {seeds}}}]\n")
        return folder

    process = start(begin(tmp_path / "whole"), "sweep", "many.yaml")
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    table = (tmp_path / "whole" / "runs" / "many" / "results.csv").read_bytes()

    chance, tally, attempt = random.Random(9), Tally(), 0
    while tally.kills < kills:
        folder, kept, ended, attempt = begin(tmp_path / str(attempt)), {}, False, attempt + 1
        sweep = folder / "runs" / "many"
        while not ended:
            last, spared, jobs = (
                tally.kills == kills,
                chance.random() < 0.5,
                chance.randint(1, reliability.number(1, 2)),
            )
            enough = len(list(sweep.glob("*/cell.json"))) + chance.randint(0, 1)
            process = start(folder, "sweep", "many.yaml", "--jobs", str(jobs))
            delay = 300 if last else chance.uniform(0.2, 2)
            ended = not killed_when(process, told_cells, sweep, enough, delay, kernels_too=not spared)
            tally.kills += not ended
            wait_for_lock(sweep)
            tally.damaged_left += len(objections(sweep)) if told_cells(sweep) else 0
            tally.stages_lost += sum((cell / "executions").read_text() != when for cell, when in kept.items())
            kept = {file.parent: (file.parent / "executions").read_text() for file in sweep.glob("*/cell.json")}
        told = process.stdout.read()
        tally.repairs_by_hand += process.returncode != 0
        assert process.returncode == 0, told
        tally.corrupt_accepted += (sweep / "results.csv").read_bytes() != table
    tally.record("shc sweep")
