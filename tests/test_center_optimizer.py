"""An optimizer whose settings are changed on the way: nothing happens unless asked, what is asked holds in the end."""

import itertools

import numpy as np
import pytest

from shc.centers import optimize_centers
from shc.hamming import minimum_distance


def similarity(classes, seed=0):
    x = np.random.default_rng(seed).normal(size=(classes, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


S = similarity(40)


def told(step):
    return step.step, step.stage, step.loss, step.best_loss, step.temperature, step.codes.tobytes()


def run(steps, at=(), act=lambda steps: None):
    """All records; `act` before those whose number is in `at`."""
    records = []
    for number in itertools.count():
        if number in at:
            act(steps)
        if (record := next(steps, None)) is None:
            return records
        records.append(record)


def check(records):
    """Every best set keeps the distance that holds, and the result is a checked local optimum."""
    for record in records:
        assert minimum_distance(record.best_codes) >= record.required_distance
    last = records[-1]
    assert last.stage == "done" and last.local_optimum and last.min_distance >= last.required_distance


def test_settings_that_are_not_changed_change_nothing():
    def touch(steps):
        steps.heat = 1.0
        steps.keep(8)

    options = dict(min_distance=8, sweeps=60, records=30, seed=3)
    alone = run(optimize_centers(S, 24, **options))
    assert list(map(told, run(optimize_centers(S, 24, **options), range(0, 40, 3), touch))) == list(map(told, alone))


@pytest.mark.parametrize("when", [0, 1, 12, 29, 30, 31, "done"])
@pytest.mark.parametrize("distance", [0, 4, 8])
def test_another_distance_holds_from_the_next_step_on(when, distance):
    options = dict(min_distance=5, sweeps=60, records=30)
    if when == "done":
        when = len(run(optimize_centers(S, 24, **options))) - 1
    records = run(optimize_centers(S, 24, **options), [when], lambda steps: steps.keep(distance))
    assert [r.required_distance for r in records] == [5] * when + [distance] * (len(records) - when)
    check(records)


def test_a_raised_distance_is_restored_and_costs_a_lowered_one_pays():
    loss = {}
    for distance in (0, 5, 9):
        records = run(
            optimize_centers(S, 24, min_distance=5, sweeps=200), [50], lambda steps, d=distance: steps.keep(d)
        )
        check(records)
        loss[distance] = records[-1].loss
        if distance == 9:
            assert not all(r.feasible for r in records[50:]), "the present set goes on, and is repaired on the way"
    assert loss[0] < loss[5] < loss[9]


def test_a_distance_that_no_set_keeps_is_refused_and_nothing_changes():
    def ask(steps):
        for distance, told in ((24, "min_distance=24 is impossible"), (-1, "min_distance=-1")):
            with pytest.raises(ValueError, match=told):
                steps.keep(distance)
        for heat in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"heat={heat}"):
                steps.heat = heat

    options = dict(sweeps=30, records=10)
    alone = run(optimize_centers(S, 24, **options))
    assert list(map(told, run(optimize_centers(S, 24, **options), [4], ask))) == list(map(told, alone))


def test_fixed_centers_stay_when_the_distance_changes():
    first = optimize_centers(S, 24, min_distance=9, sweeps=20)
    fixed = np.arange(10), run(first)[-1].codes[:10]
    records = run(optimize_centers(S, 24, min_distance=4, sweeps=60, fixed=fixed), [30], lambda steps: steps.keep(7))
    assert all((r.codes[:10] == fixed[1]).all() for r in records[1:]) and records[-1].min_distance >= 7
    steps = optimize_centers(S, 24, min_distance=4, sweeps=60, fixed=fixed)
    with pytest.raises(ValueError, match="two of the fixed codes"):
        steps.keep(minimum_distance(fixed[1]) + 1)


def test_heat_multiplies_the_temperatures_and_melts_the_set():
    def warm(steps):
        steps.heat = 10

    alone = run(optimize_centers(S, 24, sweeps=200))
    warmed = run(optimize_centers(S, 24, sweeps=200), [60], warm)
    assert list(map(told, warmed[:60])) == list(map(told, alone[:60]))
    for a, b in zip(alone[60:100], warmed[60:100], strict=True):
        assert b.stage == "anneal" and b.temperature == pytest.approx(10 * a.temperature)
    assert np.mean([r.loss for r in warmed[62:100]]) > 1.2 * np.mean([r.loss for r in alone[62:100]])
    check(warmed)


def test_several_restarts_take_a_change():
    records = run(optimize_centers(S, 24, sweeps=10, restarts=4, records=8), [3], lambda steps: steps.keep(8))
    assert records[-1].required_distance == 8
    check(records)


@pytest.mark.parametrize("options", [dict(solver="paper"), dict(solver="paper-code"), dict(workers=2, restarts=2)])
def test_solvers_that_take_no_changes_say_so(options):
    steps = optimize_centers(S, 24, sweeps=5, **options)
    with pytest.raises(ValueError, match="workers=1 takes changes"):
        steps.keep(2)
    with pytest.raises(ValueError, match="workers=1 takes changes"):
        steps.heat = 2
    assert steps.heat == 1
