"""Fuzzing: valid files are damaged in ways that their formats allow, and read, until the time is over.

A target prepares one damaged input from what hypothesis draws and returns a function that reads it. Reading may succeed
or raise an error of ours. It may not raise anything else, take longer than SLOWEST, more memory than MOST, or
change a file. In CI the seeds are the same each time; a full run begins at a random one, which a failure names.
"""

import hashlib
import itertools
import json
import linecache
import math
import os
import resource
import secrets
import shutil
import signal
import time
import tracemalloc
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import reliability
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import shc

PACKAGE = Path(shc.__file__).parent
MOST = 512 * 2**20  # bytes that reading one input may allocate, and that a target's process may grow
SLOWEST = 10.0  # seconds of the processor for one input
PATIENCE = 120.0  # seconds after which an input hangs, on a machine that does something else as well
EXAMPLES = 40  # drawn from one seed; as many at least are tried, however slow the machine is


class Hang(BaseException):
    """Reading did not end; no `except Exception` stops it."""


def fuzz(target, prepare, folder, few=10):
    """Read what `prepare(draw)` makes, in `few` seconds or 120, and record how often it was read or refused."""
    end = time.monotonic() + reliability.number(few, 120)
    tally, most, started = Counter(), 0, resident(reset=True)

    def one(data):
        nonlocal most, end
        read = prepare(data.draw)  # also when the time is over: hypothesis wants to see the same draws
        if time.monotonic() > end and tally.total() >= EXAMPLES:
            return
        try:
            outcome, taken = watched(read, folder)
        except BaseException:
            end = math.inf  # hypothesis wants to see it again
            raise
        tally[outcome] += 1
        most = max(most, taken)

    begin = secrets.randbelow(2**32) if reliability.FULL else 0
    for number in itertools.count(begin):
        if time.monotonic() > end and tally.total() >= EXAMPLES:
            break
        again = settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=False, print_blob=False,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
        )(seed(number)(given(st.data())(one)))  # fmt: skip
        try:
            again()
        except BaseException:
            print(f"{target}: seed {number}, after {tally.total():,} inputs")
            raise
    grown = resident() - started
    assert grown < MOST, f"{target}: the process grew by {grown / 2**20:.0f} MiB over {tally.total():,} inputs"
    assert tally["refused"], f"{target}: no input was refused; the damage does not reach the reader"
    print(f"{target}: {dict(tally)}, {most / 2**20:.0f} MiB in one, {grown / 2**20:.0f} MiB grown")
    reliability.count(
        "fuzzing", target, seconds=reliability.number(few, 120), examples=tally.total(), accepted=tally["accepted"],
        refused=tally["refused"], most_memory_mb=round(max(most, grown) / 2**20),
    )  # fmt: skip
    return tally


def watched(read, folder):
    """("accepted" or "refused", bytes it took) of one reading; AssertionError for all that must not happen."""
    before, started = state(folder), time.process_time()
    outcome = "accepted"
    tracemalloc.start()
    try:
        with ends(PATIENCE), warnings.catch_warnings(action="ignore"):
            read()
    except ValueError as error:
        assert ours(error), f"an error of a library came through: {type(error).__name__}: {error}"
        outcome = "refused"
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    took = time.process_time() - started
    assert took < SLOWEST, f"reading took {took:.1f} s"
    assert taken < MOST, f"reading took {taken / 2**20:.0f} MiB"
    assert state(folder) == before, "reading changed a file"
    return outcome, taken


def accepted(read, folder):
    """Whether a valid input is read; once beforehand, so that imports are neither timed nor traced."""
    with warnings.catch_warnings(action="ignore"):
        read()
    return watched(read, folder)[0] == "accepted"


def ours(error):
    """Whether an error is of a class of ours, or raised by a `raise` of ours; its text then says what to do."""
    if type(error).__module__.split(".")[0] == "shc":
        return bool(str(error))
    place = error.__traceback__
    while place.tb_next:
        place = place.tb_next
    file = place.tb_frame.f_code.co_filename
    return Path(file).is_relative_to(PACKAGE) and linecache.getline(file, place.tb_lineno).strip().startswith("raise ")


@contextmanager
def ends(seconds):
    """Raise Hang in the block if it takes longer."""

    def stop(*_):
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def state(folder):
    """What a folder holds: every file's bytes, every link's target."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as stream:
                    found[path] = hashlib.file_digest(stream, "sha256").digest()
            else:
                found[path] = None
    return found


def resident(reset=False):
    """Most bytes that the process has held; since the reset where the system can forget what was before."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def restored(original, folder):
    """`folder` as a copy of `original`, whatever it held."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder, symlinks=True)
    return folder


# ------------------------------------------------------------------------------------------ damage

LENGTHS = (0, 1, 7, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)  # as announced by headers
TEXTS = (
    "", " ", "0", "-1", "nan", "1e400", "true", "None", "../../etc/passwd", "/dev/zero", "~", "~nobody/x", "a\0b",
    "\ud800", "é" * 300, "x" * 70_000, "{0}{a!r}%s%n", "<script>alert(1)</script>", "$(touch x)", "__class__", "\n",
    "9" * 5000, "NaN", "-Infinity", "a=b=c", "=", "[[]]", "'", '"', "#", "\u202e", "CON", "[" * 200, "(" * 3000,
    "0x" + "f" * 5000, "{[]: 1}", "1:" * 3000 + "1",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, 10**4000, 0.5, -0.0, 1e308, 5e-324, math.inf, -math.inf,
    math.nan,
)  # fmt: skip
PLAIN = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.integers(), st.floats(),
    st.text(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def damaged(draw, content, times=4):
    """Bytes with one to four faults: flipped, cut out, put in, cut off, doubled, or read as a length and changed."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, times))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        span = draw(st.sampled_from((1, 2, 4, 8, 64, 1000)))
        kind = draw(st.sampled_from(("flip", "set", "cut", "insert", "truncate", "double", "length", "swap")))
        if kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at : at + span] = draw(st.sampled_from((0, 255))).to_bytes() * span
        elif kind == "cut":
            del content[at : at + span]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "truncate":
            del content[at:]
        elif kind == "double":
            content[at:at] = content[at : at + span]
        elif kind == "length":
            size, order = draw(st.sampled_from((2, 4, 8))), draw(st.sampled_from(("little", "big")))
            value = draw(st.sampled_from(LENGTHS)) % 256**size
            content[at : at + size] = value.to_bytes(size, order)
        elif kind == "swap":
            other = draw(st.integers(0, max(len(content) - 1, 0)))
            content[at : at + 4], content[other : other + 4] = content[other : other + 4], content[at : at + 4]
    return bytes(content)


def altered(draw, value, times=3):
    """A JSON value with one to three faults in its structure; the original stays as it is."""
    for _ in range(draw(st.integers(1, times))):
        value = _altered(draw, value)
    return value


def _altered(draw, value):
    inside = isinstance(value, dict | list) and len(value) > 0
    if inside and draw(st.integers(0, 4)):  # mostly deeper
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw(st.sampled_from(keys))
        changed = value.copy()
        kind = draw(st.sampled_from(("inside", "inside", "inside", "delete", "double", "swap", "rename")))
        if kind == "inside":
            changed[key] = _altered(draw, value[key])
        elif kind == "delete":
            del changed[key]
        elif kind == "swap":
            other = draw(st.sampled_from(keys))
            changed[key], changed[other] = value[other], value[key]
        elif isinstance(value, dict):
            changed[draw(st.sampled_from(TEXTS))] = value[key] if kind == "double" else changed.pop(key)
        else:
            changed.insert(key, value[key])
        return changed
    return draw(
        st.one_of(VALUES, st.sampled_from(([value], [value] * 50, {"a": value}, str(value)[:1000], nested(value))))
    )


def nested(value, depth=60):
    """The value inside so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def dumped(value):
    """JSON as bytes."""
    return json.dumps(value).encode()
