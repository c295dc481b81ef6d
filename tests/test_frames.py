"""The table of a sweep: statistics against scipy and hand values, rows that belong together, errors that help."""

import numpy as np
import pandas as pd
import pytest
from frames import LEVELS, comparison_frame, write_frame
from scipy import stats

from shc import estimates, frames


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return comparison_frame(tmp_path_factory.mktemp("table"))


def two(first, second, seeds=None):
    """A table of two methods, a row per seed."""
    seeds = range(len(first)) if seeds is None else seeds
    rows = [("shc", s, v) for s, v in zip(seeds, first, strict=True)]
    rows += [("csq", s, v) for s, v in zip(range(len(second)), second, strict=True)]
    return pd.DataFrame(rows, columns=["label", "seed", "mAP"])


# ------------------------------------------------------------------------------------------ statistics


@pytest.mark.parametrize("n", [3, 5, 12])
def test_paired_differences_are_scipys(n):
    rng = np.random.default_rng(n)
    first, second = rng.random(n), rng.random(n)
    found = frames.paired(two(first, second), "mAP", "shc", "csq")
    known = stats.ttest_rel(first, second)
    interval = known.confidence_interval(0.95)
    assert found.n == n and found.mean == pytest.approx((first - second).mean())
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, known.pvalue))
    wide = frames.paired(two(first, second), "mAP", "shc", "csq", level=0.99)
    assert (wide.low, wide.high) == pytest.approx(tuple(known.confidence_interval(0.99)))


def test_an_interval_by_hand():
    found = frames.estimate([1, 2, 3, 4])  # mean 2.5, sd 1.291, standard error 0.6455, t 3.182
    assert (found.mean, found.low, found.high) == pytest.approx((2.5, 0.4457, 4.5543), abs=1e-4)


def test_only_seeds_that_both_have_are_compared():
    found = frames.seed_differences(two([5, 6, 7], [1, 1, 1], seeds=[1, 2, 3]), "mAP", "shc", "csq")
    assert found.to_dict() == {1: 4, 2: 5}


def test_two_seeds_have_no_interval_and_say_so():
    found = frames.paired(two([5, 7], [1, 1]), "mAP", "shc", "csq")
    assert found.mean == 5 and np.isnan([found.low, found.high, found.p]).all()
    assert str(found) == "+5.000, 2 seeds: too few for an interval"
    assert frames.verdict(found.low, found.high, found.n) == "not decided by 2 seeds"
    nothing = frames.paired(two([], []), "mAP", "shc", "csq")
    assert nothing.n == 0 and str(nothing) == "not run (no common seeds)" and np.isnan(nothing.mean)


def test_equal_differences_have_an_interval_of_no_width():
    found = frames.estimate([0.1, 0.1, 0.1])
    assert (found.low, found.high, found.p) == pytest.approx((0.1, 0.1, 0))
    assert frames.estimate([0, 0, 0]).p == 1
    assert str(frames.estimate([-0.1, -0.1, -0.1])) == "−0.100 (−0.100 to −0.100), 3 seeds"


def test_missing_values_are_left_out():
    assert frames.estimate([1, np.nan, 2, 3]).n == 3


def test_holm_by_hand():
    # smallest × 4, next × 3, …, never smaller than the one before, at most 1
    assert frames.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert frames.holm([0.9, 0.8]) == pytest.approx([1, 1])
    with_gap = frames.holm([0.01, np.nan, 0.04])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(with_gap[1])
    assert len(frames.holm([])) == 0


def test_holm_lies_between_no_correction_and_bonferronis():
    p = np.random.default_rng(0).random(20) ** 3
    adjusted = frames.holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(20 * p, 1) + 1e-12).all()
    assert (np.diff(adjusted[p.argsort()]) >= 0).all()
    shuffled = np.random.default_rng(1).permutation(20)
    assert frames.holm(p[shuffled]) == pytest.approx(adjusted[shuffled])


@pytest.mark.parametrize(
    ("low", "high", "p", "told"),
    [
        (0.01, 0.02, np.nan, "holds"),
        (-0.02, -0.01, 0.01, "does not hold"),
        (-0.01, 0.02, 0.6, "not decided by 5 seeds"),
        (0.01, 0.02, 0.07, "not decided by 5 seeds"),  # clear alone, but not among so many
        (np.nan, np.nan, np.nan, "not decided by 5 seeds"),
    ],
)
def test_verdicts(low, high, p, told):
    assert estimates.verdict(low, high, 5, p) == told


def test_summary_is_mean_sd_and_interval(made):
    rows = frames.where(frames.block(made, "closed"), bits=32, label="csq")
    (found,) = frames.summary(rows, "mAP@ALL", ["label", "bits"]).to_dict("records")
    values = rows["mAP@ALL"]
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found["label"], found["bits"], found["n"]) == ("csq", 32, 5)
    assert (found["mean"], found["sd"]) == pytest.approx((values.mean(), values.std()))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert frames.summary(rows.iloc[:0], "mAP@ALL").empty


def test_slopes_are_those_of_a_fit_per_seed(made):
    rows = frames.block(made, "dose", ["shuffled"])
    known = {s: np.polyfit(part["f"], part["mAP@ALL"], 1)[0] for s, part in rows.groupby("seed")}
    assert frames.slopes(rows, "f", "mAP@ALL").to_dict() == pytest.approx(known)
    assert frames.slopes(frames.where(rows, shuffled=0.0), "f", "mAP@ALL").empty


# ------------------------------------------------------------------------------------------ reading


def test_a_table_is_read_with_its_types_and_labels(made):
    assert set(made["label"]) == {*LEVELS, "shc, distance centers", "shc, csq centers"}
    assert made["bits"].dtype.kind == "i" and made["circular"].dtype == bool and made["f"].dtype == float
    assert set(made["information"]) == {"classes", "classes, tree", "tree", "none"}  # "none" is a word here
    assert (made.loc[made["method"] == "lsh", "centers"] == "").all()
    assert made.loc[made["method"] == "lsh", "f"].isna().all()
    assert all(made[score].dtype == float for score in frames.SCORES)


def test_columns_that_are_missing_are_named(tmp_path):
    file = write_frame(tmp_path, "closed", 1)
    pd.read_csv(file).drop(columns=["seed", "curve"]).to_csv(file, index=False)
    with pytest.raises(
        ValueError, match=r"comparison.csv lacks the columns curve, seed; gather it again with `shc swe"
    ):
        frames.read_frame(file)


@pytest.mark.parametrize(("column", "value"), [("mAP@100", "high"), ("bits", "x"), ("circular", "maybe")])
def test_a_value_of_the_wrong_type_is_told_with_its_row(tmp_path, column, value):
    file = write_frame(tmp_path, "closed", 1)
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[3, column] = value
    table.to_csv(file, index=False)
    with pytest.raises(ValueError, match=rf"comparison.csv, row 5: {column}='{value}' is not"):
        frames.read_frame(file)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.csv' is not a file; give the table that `shc sweep` gathered"):
        frames.read_frame(tmp_path / "nowhere.csv")


def test_a_table_without_rows_can_be_read(tmp_path):
    empty = comparison_frame(tmp_path, "")
    assert empty.empty and "label" in empty
    assert frames.block(empty, "closed").empty and frames.protocol(empty).empty
    assert frames.differences(empty, "mAP@ALL").empty and frames.curves(empty).empty


# ------------------------------------------------------------------------------------------ choosing


def test_a_block_holds_network_codes_of_test_queries(made):
    other = made.iloc[[0]].assign(split="val"), made.iloc[[0]].assign(codes="snapped")
    rows = frames.block(pd.concat([made, *other]), "closed")
    assert set(rows["codes"]) == {"hashed"} and set(rows["split"]) == {"query"}
    assert len(rows) == (made["block"] == "closed").sum()


def test_an_ablation_finds_its_other_side_in_another_block(made):
    rows = frames.block(made, "distance", ["min_distance"])
    assert rows.groupby("min_distance")["seed"].nunique().to_dict() == {"0": 5, "rule": 5}
    assert set(rows["label"]) == {"shc"} and set(rows["bits"]) == {32}
    doses = frames.block(made, "dose", ["shuffled"])
    assert sorted(doses["shuffled"].unique()) == [0, 0.25, 0.5, 0.75, 1]
    kinds = frames.block(made, "solver", ["solver", "centers"])
    assert set(kinds["centers"]) == {"semantic", "permuted", "random", "distance", "csq"}
    assert set(frames.block(made, "reference", ["codes"])["codes"]) == {"hashed", "snapped", "unquantized"}
    assert frames.block(made, "never").empty


def test_rows_of_equal_runs_count_once(made):
    twice = pd.concat([made, made.assign(block="again")])
    assert len(frames.block(twice, "closed")) == len(frames.block(made, "closed"))


def test_a_parameter_that_cannot_vary_is_told(made):
    with pytest.raises(ValueError, match="varied='colour' is no parameter of a run; choose among data, protocol"):
        frames.block(made, "closed", ["colour"])


def test_rows_that_are_not_comparable_are_told(made):
    with pytest.raises(ValueError, match=r"label='shc' has 3 rows with seed 0, which differ in bits; choose the rows"):
        frames.paired(frames.block(made, "closed"), "mAP@ALL", "shc", "csq")


def test_an_unknown_metric_is_told_with_those_there_are(made):
    with pytest.raises(ValueError, match=r"metric='mAP' is not in the table; it has mAP@ALL, mAP@100"):
        frames.summary(made, "mAP")


def test_labels_tell_centers_that_are_not_the_usual_ones():
    rows = [("shc", "semantic"), ("shc", "csq"), ("csq", "csq"), ("csq", "random"), ("lsh", ""), ("new", "own")]
    told = [frames.label({"method": method, "centers": centers, "init": "scratch"}) for method, centers in rows]
    assert told == ["shc", "shc, csq centers", "csq", "csq, random centers", "lsh", "new"]
    assert frames.label({"method": "lsh", "centers": "", "init": "classifier"}) == "lsh, from the classifier"


# ------------------------------------------------------------------------------------------ tables


def test_differences_are_paired_corrected_and_judged(made):
    closed = frames.block(made, "closed")
    table = frames.differences(closed, "mAP@ALL", others=["csq", "lsh"], within="bits")
    assert table[["bits", "other"]].to_numpy().tolist() == [[k, o] for k in (16, 32, 64) for o in ("csq", "lsh")]
    first = frames.paired(frames.where(closed, bits=16), "mAP@ALL", "shc", "csq")
    assert (table["mean"][0], table["low"][0], table["p"][0]) == pytest.approx((first.mean, first.low, first.p))
    assert table["p_holm"].to_numpy() == pytest.approx(frames.holm(table["p"]))
    assert (table["verdict"] == "holds").all()
    every = frames.differences(frames.where(closed, bits=32), "mAP@ALL")
    assert set(every["other"]) == set(LEVELS) - {"shc"}
    assert set(every[every["circular"]]["other"]) == {"shpdh", "shrewd"}


def test_curves_and_when_they_are_nearly_there(made):
    row = made.iloc[[0]].assign(curve="1:0.2 4:0.39 8:0.4", seconds_centers=2.0, seconds_hasher=16.0)
    row = row.assign(seconds_classifier=30.0, init="classifier")
    curves = frames.curves(row)
    assert curves[["epoch", "val", "seconds"]].to_numpy().tolist() == [[1, 0.2, 34], [4, 0.39, 40], [8, 0.4, 48]]
    scratch = frames.curves(row.assign(init="scratch"))  # needs no classifier
    assert scratch["seconds"].tolist() == [4, 10, 18]
    assert frames.time_to(curves).loc["shc"].tolist() == [0.4, 4, 40]
    assert frames.curves(made[made["method"] == "lsh"]).empty


def test_scores_as_text(made):
    rows = frames.where(frames.block(made, "closed"), bits=32)
    table = frames.score_table(rows, ["mAP@ALL", "nDCG@100"])
    assert table.index[0] == "shc" and table.index[-1] == "udmsh" and table.loc["csq", "seeds"] == 5
    found = frames.summary(rows[rows["label"] == "shc"], "mAP@ALL").iloc[0]
    assert table.loc["shc", "mAP@ALL"] == f"{found['mean']:.3f} ± {(found['high'] - found['low']) / 2:.3f}"


def test_the_protocol_names_what_was_run(made):
    table = frames.protocol(made)
    assert table.loc["closed", "bits"] == "16, 32, 64" and table.loc["closed", "seeds"] == 5
    frozen = made["method"].isin(["lsh", "classifier"]) | (made["block"] == "solver")
    trained = frames.protocol(made.assign(frozen=frozen))["trained"]  # lsh and classifier are not trained at all
    assert (trained["closed"], trained["solver"]) == ("whole network", "last layer")
    assert (
        table.loc["shapes", "data"] == "shapes"
        and table.loc["budget", "hasher_epochs"] == "3, 30"
        and table.loc["closed", "methods"] == len(LEVELS)
    )


def test_the_papers_tables_are_complete_and_named_as_printed():
    tables = frames.paper_tables()
    assert tables.groupby("table").size().to_dict() == {"ablation": 3 * 4 * 5 * 3, "methods": 3 * 10 * 5 * 3}
    assert tables["as printed"].between(0, 1).all() and "as printed" in tables.attrs["source"]
    shc = frames.where(tables, metric="mAP@ALL", data="NABirds-B", bits=64).set_index(["table", "method"])["as printed"]
    assert shc["methods", "SHC"] == shc["ablation", "both"] == 0.3988
