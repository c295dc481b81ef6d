"""Commands to kill: children of a process that has imported everything, so that a start takes no time.

A child dies when the test kills its process group, or at its n-th write: just before the finished file gets its name,
or just after. It can also be given another user's rights or a limit of memory.
"""

import importlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 180  # seconds that a child may take
NOBODY = 65534  # a user who owns nothing


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit status (−9 if it was killed), what it printed, writes, seconds, most resident bytes."""

    code: int
    told: str
    writes: int
    seconds: float
    memory: int

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Forks:
    """Start children one after the other; end it with `close`."""

    def __init__(self):
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._line(PATIENCE) == "ready"

    def run(self, work, *arguments, cwd, seconds=None, **how) -> Ended:
        """Do `work` (of WORK) in the folder `cwd`; killed after so many seconds, or as `how` says (see `child`)."""
        told = dict(work=work, arguments=[str(a) for a in arguments], cwd=str(cwd), **how)
        self.server.stdin.write(json.dumps(told).encode() + b"\n")
        child, begun = int(self._line(10)), time.monotonic()
        if seconds is not None and not self._ready(seconds):
            kill(child)
        if not self._ready(PATIENCE):
            kill(child)
            raise AssertionError(f"{work} {arguments} did not end: {(Path(cwd) / 'told.txt').read_text()}")
        code, memory = map(int, self._line(10).split())
        printed = (Path(cwd) / "told.txt").read_text()
        text, _, writes = printed.rpartition("writes: ")
        ended = code != -signal.SIGKILL
        return Ended(
            code, text if ended else printed, int(writes) if ended else 0, time.monotonic() - begun, memory * 1024
        )

    def close(self):
        self.server.stdin.close()
        self.server.wait(timeout=10)

    def _ready(self, seconds):
        return bool(select.select([self.server.stdout], [], [], seconds)[0])

    def _line(self, seconds):
        assert self._ready(seconds), "the process that starts the others does not answer"
        return self.server.stdout.readline().decode().strip()


def kill(child):
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended


# ------------------------------------------------------------------------------------------ in the other process


NEEDED = (  # imported before anybody waits; nobody, in whose name a child may work, cannot read where Python lies
    "bs4", "encodings.cp437", "nbconvert", "pyarrow.parquet", "yaml", "shc.cli", "shc.encode", "shc.image_search",
    "shc.report", "shc.stages", "shc.sweeps", "shc.train_job", "shc.verify",
)  # fmt: skip


def serve():
    """Fork a child for every line of stdin; answer with its number, then with its exit status and memory."""
    for name in NEEDED:
        importlib.import_module(name)
    answers = os.dup(1)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        told = json.loads(line)
        begun, begin = os.pipe()
        number = os.fork()
        if number == 0:
            child(told, begin)
        os.close(begin)
        os.read(begun, 1)  # until it leads its own group
        os.close(begun)
        os.write(answers, f"{number}\n".encode())
        _, status, used = os.wait4(number, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)} {used.ru_maxrss}\n".encode())
    os._exit(0)  # at once: tidying up after so many imports takes seconds


def child(told, begin):
    """Work and leave; `write` is the number of the write to die at, `after` it or just before."""
    os.setsid()
    os.chdir(told["cwd"])
    os.environ["SHC_RUNS"] = told["cwd"]
    log = os.open("told.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(file, stream)
    os.write(begin, b"1")
    os.close(begin)
    counted = die_at(told.get("write", 0), told.get("after", False))
    if "bytes" in told:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (told["bytes"], told["bytes"]))
    if told.get("nobody"):
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        code = WORK[told["work"]](*told["arguments"])
    except ValueError as error:  # which a command would tell in the same way
        print(f"told: {error}")
        code = 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    print(f"writes: {next(counted) - 1}", flush=True)
    os._exit(code or 0)


def die_at(write, after):
    """Kill this process at its n-th write; returns the counter of writes."""
    counted, replace = itertools.count(1), os.replace

    def replaced(*arguments, **options):
        last = next(counted) == write
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replaced
    return counted


def command(*arguments):
    """A command line."""
    from shc import cli

    return cli.main(arguments)


def stage_2(folder):
    """Similarity and both kinds of centers of a run, as notebooks 02 and 03 make them."""
    from shc import stages
    from shc.config import CentersConfig, SimilarityConfig
    from shc.presets import preset_values
    from shc.runs import Run

    run = Run(folder)
    images = stages.images_of(run)
    stages.class_similarity(run, images, SimilarityConfig())
    for kind in ("semantic", "random"):
        for _ in stages.optimize_centers(run, images, CentersConfig(bits=preset_values("tiny")["bits"], kind=kind)):
            pass


def whole_run(folder):
    """The whole sequence in one process, on the tiny preset; prints mAP@ALL."""
    from shc import stages
    from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig
    from shc.presets import preset_values
    from shc.runs import Run

    tiny = preset_values("tiny")
    short = dict(batch=tiny["batch"], device="cpu", threads=1)
    print(
        stages.run_all(
            Run(folder), Data(scale=tiny["scale"], size=tiny["size"]),
            ClassifierConfig(epochs=tiny["epochs"], **short), CentersConfig(bits=tiny["bits"]),
            HasherConfig(epochs=tiny["hasher_epochs"], **short),
        )
    )  # fmt: skip


def save_one(folder):
    """An artifact of a run."""
    import numpy as np

    from shc.runs import Run

    Run(folder).save("similarity", {"S": np.eye(2)}, parameters={}, fingerprint="f")


WORK = {"shc": command, "stage 2": stage_2, "whole run": whole_run, "save": save_one}

if __name__ == "__main__":
    serve()
