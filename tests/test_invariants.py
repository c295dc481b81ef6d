"""What must hold of every evaluation is asserted in debug mode, which the tests run in."""

import numpy as np
import pytest

from shc import metrics, promises
from shc.invariants import check_order, check_values

QUERY, DATABASE = [[1, 1], [-1, -1]], [[1, 1], [1, -1], [-1, -1]]


def test_the_tests_run_in_debug_mode(monkeypatch):
    assert promises.debug()
    for value in ("0", ""):
        monkeypatch.setenv("SHC_DEBUG", value)
        assert not promises.debug()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"mAP@ALL": [0.5, 1.1]}, "mAP@ALL is 1.1 for query 1; expected 0 to 1"),
        ({"P@1": [-0.1]}, "P@1 is -0.1"),
        ({"nDCG@1": [np.nan]}, "nDCG@1 is nan"),
        ({"ACG@5": [np.inf]}, "ACG@5 is inf"),
        ({"R@10": [0.4], "R@5": [0.5]}, "R@10 lies below R@5 for query 0: 0.4, not 0.5 or more"),
    ],
)
def test_a_metric_out_of_its_bounds_is_an_error(values, told):
    with pytest.raises(AssertionError, match=told):
        check_values({name: np.array(value) for name, value in values.items()})
    check_values(
        {"ACG@5": np.array([7.0]), "R@5": np.array([0.5]), "R@10": np.array([0.5]), "mAP@ALL": np.array([1.0])}
    )


def test_an_evaluation_that_depends_on_the_order_is_an_error(monkeypatch):
    from shc import histograms

    honest = histograms.count

    def sloppy(retrieval, *rest):
        found = honest(retrieval, *rest)
        found[:, :, 0] += int(retrieval.database[0, 0])  # something that hangs on the first item
        return found

    before = metrics.evaluate(QUERY, DATABASE, [0, 1], [0, 1, 1], k=1)
    monkeypatch.setattr(histograms, "count", sloppy)
    with pytest.raises(AssertionError, match="the counts depend on the order of the database"):
        metrics.evaluate(QUERY, DATABASE, [0, 1], [0, 1, 1], k=1)
    monkeypatch.setattr(histograms, "count", honest)
    monkeypatch.setenv("SHC_DEBUG", "0")
    assert metrics.evaluate(QUERY, DATABASE, [0, 1], [0, 1, 1], k=1) == before, "debug mode changes no number"


def test_counts_must_add_up():
    from shc.histograms import count, prepare

    retrieval = prepare(QUERY, DATABASE, [0, 1], [0, 1, 1])
    histogram = count(retrieval)
    check_order(histogram, retrieval, count)
    with pytest.raises(AssertionError, match="do not add up to the database"):
        check_order(histogram + 1, retrieval, lambda turned: count(turned) + 1)
