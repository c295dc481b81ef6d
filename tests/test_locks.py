"""Two processes on one run folder: the second is told, a reader is not kept waiting, and a kill leaves no lock."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from shc import locks
from shc.runs import Run, RunError

HOLD = """
import subprocess, sys, time
from shc import locks
from shc.runs import Run
with Run(sys.argv[1]).alone():
    handed = locks.handed_on()
    if len(sys.argv) > 2:  # a child as a runner starts its kernels
        import os
        child = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
        print(subprocess.Popen(child, env=os.environ | handed["env"], pass_fds=handed["pass_fds"]).pid, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""
WRITE = "import sys; from shc.runs import Run; Run(sys.argv[1]).add_results(kernel=1); print('wrote', flush=True)"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0.1)


def holder(run, *more):
    """A process that holds the run's folder, when it does, and the lines that it printed until then."""
    started = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path), *more], stdout=subprocess.PIPE, text=True)
    lines = []
    while (line := started.stdout.readline().strip()) != "held":
        assert line, "it ended before it held the folder"
        lines.append(line)
    return started, lines


def save(run, **parameters):
    return run.save("similarity", {"S": np.eye(2)}, parameters=parameters, fingerprint="f")


def test_a_second_writer_is_told_and_a_reader_reads(tmp_path):
    run = Run(tmp_path / "one")
    save(run, mask="true")
    run.add_results(a=1)
    process, _ = holder(run)
    try:
        for write in (lambda: save(run), lambda: run.add_results(b=2), lambda: run.add_parameters("data", {})):
            with pytest.raises(RunError, match=rf"run 'one' is being run already, by process {process.pid} on .*wait"):
                write()
        with pytest.raises(RunError, match="is being run already"), run.alone():
            pass
        assert run.load("similarity", mask="true").arrays.keys() == {"S"} and run.results() == {"a": 1}
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (run.path / locks.LOCK).exists(), "the file may stay; nobody holds it"
    save(run, mask="false")
    run.load("similarity", mask="false")
    assert not (run.path / locks.LOCK).exists()


def test_figures_and_reports_wait_for_who_writes(tmp_path):
    import fake_notebooks as fake
    from matplotlib.figure import Figure

    from shc.report import write_report

    run = Run(tmp_path / "one")
    fake.write(run.path / "notebooks" / "00_tour.ipynb", fake.notebook(fake.code("1")))
    process, _ = holder(run)
    try:
        for write in (lambda: write_report(run), lambda: run.save_figure(Figure(), "a")):
            with pytest.raises(RunError, match=rf"run 'one' is being run already, by process {process.pid} on .*wait"):
                write()
    finally:
        process.kill()
        process.wait()
    assert [file.name for file in (run.path / "notebooks").iterdir()] == ["00_tour.ipynb"]
    assert write_report(run).exists() and run.save_figure(Figure(), "a").exists()


def test_what_a_runner_starts_writes_in_its_folder_and_outlives_it_with_the_lock(tmp_path):
    run = Run(tmp_path / "one")
    child = WRITE + "; import time; time.sleep(60)"
    process, lines = holder(run, child)
    kernel = int(lines[0])
    try:
        until = time.monotonic() + 60
        while run.results() != {"kernel": 1} and time.monotonic() < until:
            time.sleep(0.05)
        assert run.results() == {"kernel": 1}, "its own kernel is not locked out"
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(RunError, match="is being run already"):  # the orphan could still write
            run.add_results(other=1)
    finally:
        process.kill()
        os.kill(kernel, signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            run.add_results(other=1)
            break
        except RunError:
            time.sleep(0.05)
    assert run.results() == {"kernel": 1, "other": 1}


def test_one_process_holds_a_folder_as_often_as_it_likes(tmp_path):
    run = Run(tmp_path / "one")
    with run.alone():
        with Run(tmp_path / "one" / ".." / "one").alone():
            save(run)
        assert (run.path / locks.LOCK).exists() and locks.handed_on()["env"] == {locks.HELD: str(run.path.resolve())}
    assert not (run.path / locks.LOCK).exists() and locks.handed_on() == {"env": {}, "pass_fds": ()}


def test_the_lock_is_let_go_after_an_error_and_when_a_step_is_not_finished(tmp_path):
    run = Run(tmp_path / "one")

    def step():
        with run.alone():
            yield 1
            yield 2

    with pytest.raises(KeyError), run.alone():
        raise KeyError
    steps = step()
    next(steps)
    assert locks.handed_on()["pass_fds"]
    steps.close()  # what an interrupted cell's generator gets
    assert not locks.handed_on()["pass_fds"] and list(run.path.iterdir()) == []


def test_writers_that_take_turns_lose_nothing(tmp_path):
    code = (
        "import sys; from shc import locks; locks.WAIT = 60; from shc.runs import Run\n"
        "for i in range(5): Run(sys.argv[1]).add_results(**{f'{sys.argv[2]}{i}': i})"
    )
    run = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "one"), name]) for name in "ab"]
    assert [process.wait(timeout=120) for process in run] == [0, 0]
    assert len(Run(tmp_path / "one").results()) == 10


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    run, precious = Run(tmp_path / "one"), tmp_path / "precious"
    precious.write_text("content")
    run.path.mkdir()
    (run.path / locks.LOCK).symlink_to(precious)
    with pytest.raises(RunError, match="could not be written"):
        save(run)
    assert precious.read_text() == "content"


def test_a_kernel_of_the_runner_writes_in_the_folder_that_the_runner_holds(tmp_path):
    import fake_notebooks as fake

    from shc import pipeline

    text = "from shc.runs import Run\nRun(run).add_results(kernel=2)"  # a parameter alone would be the magic %run
    source = fake.write(
        tmp_path / "book.ipynb",
        fake.notebook(
            fake.parameters('run: str = ""\nbits: int = 8'),
            fake.code(text),
        ),
    )
    run = Run(tmp_path / "one")
    with run.alone():
        pipeline.execute_file(source, run, {})
    assert run.results() == {"kernel": 2} and not (run.path / locks.LOCK).exists()
