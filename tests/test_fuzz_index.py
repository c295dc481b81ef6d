"""`HammingIndex` as a state machine: whatever is called in whatever order, it agrees with a dictionary of items.

What is refused changes nothing; items come back by distance and then by id; what was saved is there again.
"""

import itertools
import math
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import reliability
import torch
from fuzzing import MOST, resident
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shc import hamming
from shc.search import HammingIndex, SearchError

BITS = 12
LAST = 2**63 - 1
CODES = st.lists(st.sampled_from((0, 1, 2, 3, 7, 8, 4095, 4094, 2730)), min_size=1, max_size=6)  # many ties
IDS = st.one_of(st.integers(0, 12), st.sampled_from((40, 2**40, LAST)))
FORMS = st.sampled_from(("signs", "floats", "words", "torch"))
COUNTS = dict.fromkeys(("operations", "refused", "searches"), 0)


def signs(numbers, bits=BITS):
    return np.array([[1 if number >> bit & 1 else -1 for bit in range(bits)] for number in numbers], np.int8)


def formed(numbers, form):
    """The codes as one of the kinds that an index takes."""
    if form == "torch":
        return torch.from_numpy(signs(numbers))
    return {"signs": lambda x: x, "floats": lambda x: x.astype(np.float32), "words": hamming.pack}[form](signs(numbers))


def bad_codes(numbers):
    good, n = signs(numbers), len(numbers)
    return (
        signs(numbers, BITS - 1), signs(numbers, BITS + 1), signs(numbers, 2000), good * 0, good * 2, good[:0], good[0],
        good[None], good.astype(str), good * np.nan, good > 0, good.astype(np.uint64), None, "codes", [],
        good.astype(object), hamming.pack(good) | np.uint64(1 << 60), np.zeros((n, 2), np.uint64),
    )  # fmt: skip


def bad_facts(n):
    return (
        dict(ids=[-1] * n), dict(ids=[0.5] * n), dict(ids=["a"] * n), dict(ids=[3] * (n + 1)), dict(ids=3),
        dict(ids=[5] * n) if n > 1 else dict(ids=[2**63]), dict(ids=[True] * n), dict(labels=[-2] * n),
        dict(labels=[0] * (n + 1)), dict(labels=["x"] * n), dict(labels=[1.5] * n), dict(labels=[[1]] * n),
        dict(paths=["a"] * (n + 1)), dict(paths="ab"), dict(paths=["a\0"] * n), dict(paths=["\ud800"] * n),
    )  # fmt: skip


QUESTIONS = (
    dict(), dict(k=1, radius=1), dict(k=0), dict(k=-1), dict(k=1.5), dict(k=True), dict(k="1"), dict(radius=-1),
    dict(radius=0.5), dict(radius=None, k=None), dict(k=np.nan),
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """An index, the items that it should hold (code, label, path by id), and those that were saved."""

    engine = "memory"

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="index"))
        self.items, self.saved = {}, {}

    def teardown(self):
        shutil.rmtree(self.folder)

    @initialize()
    def opened(self):
        self.index = HammingIndex.open(f"{self.engine}:{self.folder / 'index'}", bits=BITS, fingerprint="h")

    # ------------------------------------------------------------------------------------------ what is accepted

    @rule(numbers=CODES, ids=st.lists(IDS, min_size=6, max_size=6, unique=True), form=FORMS, facts=st.booleans())
    def add(self, numbers, ids, form, facts):
        ids = ids[: len(numbers)]
        labels = [number % 5 - 1 for number in numbers] if facts else [-1] * len(numbers)
        paths = [f"é/{number}.png" for number in numbers] if facts else [""] * len(numbers)
        new = dict(zip(ids, zip(numbers, labels, paths, strict=True), strict=True))
        given = dict(ids=ids, labels=labels, paths=paths) if facts else dict(ids=ids)
        if any(self.items.get(i, item) != item for i, item in new.items()):
            self.refused(lambda: self.index.add(formed(numbers, form), **given))
            return
        assert self.index.add(formed(numbers, form), **given) == len(new.keys() - self.items.keys())
        self.items |= new

    @rule(numbers=CODES, form=FORMS)
    def add_without_ids(self, numbers, form):
        first = max(self.items, default=-1) + 1
        if first + len(numbers) - 1 > LAST:
            self.refused(lambda: self.index.add(formed(numbers, form)))
            return
        assert self.index.add(formed(numbers, form)) == len(numbers)
        self.items |= {first + i: (number, -1, "") for i, number in enumerate(numbers)}

    @rule(data=st.data())
    @precondition(lambda self: self.items)
    def delete(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.items)), unique=True))
        assert self.index.delete(np.array(ids, dtype=np.int64)) == len(ids)
        for i in ids:
            del self.items[i]

    @rule(numbers=CODES, form=FORMS, k=st.integers(1, 30))
    @precondition(lambda self: self.items)
    def nearest(self, numbers, form, k):
        COUNTS["searches"] += 1
        found = self.index.search(formed(numbers, form), k=k)
        for row, number in enumerate(numbers):
            ranked = self.ranked(number)
            ids, distances = found.ids[row].tolist(), found.distances[row].tolist()
            assert distances == [distance for distance, _ in ranked][:k]
            hits = list(zip(distances, ids, strict=True))
            assert hits == sorted(set(hits)) and set(hits) <= set(ranked)  # equal distances by id
            cut = distances[-1] if k < len(ranked) else math.inf  # the only group of which some may be missing
            assert [hit for hit in hits if hit[0] < cut] == [hit for hit in ranked if hit[0] < cut]
            assert list(zip(found.labels[row].tolist(), found.paths[row], strict=True)) == self.facts(ids)

    @rule(numbers=CODES, form=FORMS, radius=st.integers(0, BITS + 3))
    @precondition(lambda self: self.items)
    def within(self, numbers, form, radius):
        COUNTS["searches"] += 1
        found = self.index.search(formed(numbers, form), radius=radius)
        for row, number in enumerate(numbers):
            part = slice(found.offsets[row], found.offsets[row + 1])
            hits = list(zip(found.distances[part].tolist(), found.ids[part].tolist(), strict=True))
            assert hits == [hit for hit in self.ranked(number) if hit[0] <= radius]
            ids = found.ids[part].tolist()
            assert list(zip(found.labels[part].tolist(), found.paths[part], strict=True)) == self.facts(ids)
        assert found.offsets[-1] == len(found.ids)

    @rule(again=st.booleans())
    def save(self, again):
        """What was not saved is lost when a memory index is opened again; Lance stores every add."""
        try:
            self.index.save()
            self.saved = dict(self.items)
        except SearchError as error:
            assert "is empty" in str(error) and not self.items and self.engine == "memory"
        if again:
            self.reopen()

    @rule()
    def reopen(self):
        self.index = HammingIndex.open(f"{self.engine}:{self.folder / 'index'}", bits=BITS, fingerprint="h")
        self.items = dict(self.saved) if self.engine == "memory" else self.items

    # ------------------------------------------------------------------------------------------ what is refused

    @rule(data=st.data(), numbers=CODES)
    def refused_codes(self, data, numbers):
        bad = data.draw(st.sampled_from(bad_codes(numbers)))
        self.refused(lambda: self.index.add(bad))
        self.refused(lambda: self.index.search(bad, k=3))
        self.refused(lambda: self.index.search(bad, radius=3))

    @rule(data=st.data(), numbers=CODES)
    def refused_facts(self, data, numbers):
        bad = data.draw(st.sampled_from(bad_facts(len(numbers))))
        self.refused(lambda: self.index.add(signs(numbers), **bad))

    @rule(data=st.data())
    def refused_questions(self, data):
        code = signs([1])
        asked = data.draw(st.sampled_from(QUESTIONS))
        self.refused(lambda: self.index.search(code, **asked))
        missing = data.draw(st.sampled_from(([777], [777, 0], [-1], [0.5], [0, 0], ["0"], [[0]], [2**64])))
        self.refused(lambda: self.index.delete(missing))
        if not self.items:
            self.refused(lambda: self.index.search(code, k=1))

    # ------------------------------------------------------------------------------------------ the model

    @invariant()
    def agrees(self):
        COUNTS["operations"] += 1
        if hasattr(self, "index"):
            assert self.index.count() == len(self.items) and self.index.bits in (BITS, None)

    def refused(self, call):
        COUNTS["refused"] += 1
        with pytest.raises(SearchError) as raised:
            call()
        assert str(raised.value)
        assert self.index.count() == len(self.items)
        if self.items:
            everything = self.index.search(signs([0]), radius=BITS)
            assert sorted(everything.ids.tolist()) == sorted(self.items)

    def ranked(self, number):
        """(distance, id) of every item, nearest first."""
        return sorted(((number ^ code).bit_count(), i) for i, (code, _, _) in self.items.items())

    def facts(self, ids):
        return [self.items[i][1:] for i in ids]


@pytest.mark.parametrize("engine", ["memory", "lance"])
def test_an_index_agrees_with_a_dictionary(engine):
    if engine == "lance":
        pytest.importorskip("lancedb")
    for name in COUNTS:
        COUNTS[name] = 0
    seconds, runs, kind = reliability.number(5, 120), 0, type("Machine", (Machine,), {"engine": engine})
    options = settings(
        max_examples=5, stateful_step_count=30, deadline=None, database=None, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(seed(0)(kind), settings=settings(options, max_examples=1))  # imports take memory, too
    before, begin = resident(reset=True), secrets.randbelow(2**32) if reliability.FULL else 0
    end = time.monotonic() + seconds
    for number in itertools.count(begin):
        if time.monotonic() > end:
            break
        try:
            run_state_machine_as_test(seed(number)(kind), settings=options)
        except BaseException:
            print(f"index: {engine}: seed {number}, after {runs} sequences")
            raise
        runs += options.max_examples
    grown = resident() - before
    assert grown < MOST and COUNTS["refused"] and COUNTS["searches"], (grown, COUNTS)
    print(f"index: {engine}: {runs} sequences, {COUNTS}, {grown / 2**20:.0f} MiB grown")
    reliability.count(
        "fuzzing", f"index: {engine}", seconds=seconds, examples=runs, accepted=COUNTS["operations"],
        refused=COUNTS["refused"], most_memory_mb=round(grown / 2**20),
    )  # fmt: skip
