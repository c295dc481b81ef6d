"""Claims and their verdicts on a table whose effects are known."""

import pytest
from frames import comparison_frame

from shc import claims, frames


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return comparison_frame(tmp_path_factory.mktemp("table"))


def by_claim(table):
    return table.set_index("claim")


def test_verdicts_follow_the_numbers(made):
    found = by_claim(claims.findings(made))
    assert found.loc["SHC is above CSQ at 32 bits", "verdict"] == "holds"
    assert found.loc["its gain over MDS is larger at 16 than at 64 bits", "verdict"] == "holds"
    distance = found.loc["the minimum distance helps: the rule is above none"]
    assert distance["mean"] == pytest.approx(-0.005, abs=0.006) and distance["verdict"] != "holds"
    assert found["p_holm"].to_numpy() == pytest.approx(frames.holm(found["p"]))
    # the same table with the sign turned
    turned = by_claim(claims.findings(made.assign(**{"mAP@ALL": 1 - made["mAP@ALL"]})))
    assert turned.loc["SHC is above CSQ at 32 bits", "verdict"] == "does not hold"
    both = turned.loc["SHC is above CSQ at 32 bits", "mean"] + found.loc["SHC is above CSQ at 32 bits", "mean"]
    assert both == pytest.approx(0)


def test_the_gain_between_lengths_is_a_difference_of_differences(made):
    closed = frames.block(made, "closed")
    at = {k: frames.paired(frames.where(closed, bits=k), "mAP@ALL", "shc", "csq").mean for k in (16, 64)}
    found = by_claim(claims.findings(made))
    mean = found.loc["its gain over CSQ is larger at 16 than at 64 bits", "mean"]
    assert mean == pytest.approx(at[16] - at[64])


def test_what_the_paper_prints_stands_in_its_own_column(made):
    printed = by_claim(claims.findings(made))["paper, as printed"]
    assert printed["SHC is above CSQ at 64 bits"] == "+0.008 to +0.074, 5 sets"
    peaks = "largest at 16 bits on 2 of 5 sets, 32 bits on {} of 5 sets, 64 bits on {} of 5 sets"
    assert printed["its gain over CSQ is larger at 16 than at 64 bits"] == peaks.format(2, 1)
    assert printed["its gain over MDS is larger at 16 than at 64 bits"] == peaks.format(1, 2)
    assert printed["the minimum distance helps: the rule is above none"].endswith("negative in 4 of all 45 cells")
    other = by_claim(claims.findings(made, "mAP@100"))["paper, as printed"]
    assert other["SHC is above CSQ at 64 bits"].startswith("+0.005 to +0.04")


def test_what_was_not_run_says_so(tmp_path):
    found = by_claim(claims.findings(comparison_frame(tmp_path, "closed", seeds=2)))
    assert found.loc["SHC is above CSQ at 32 bits", "verdict"] == "not decided by 2 seeds"
    assert found.loc["S from the classifier is above S from class names", "verdict"] == "not run"
    assert found.loc["classes that were never trained: SHC is above CSQ", "verdict"] == "not run"
    empty = claims.findings(comparison_frame(tmp_path, ""))
    assert (empty["verdict"] == "not run").all() and len(empty) > 5
    assert claims.told(empty)["here"].str.startswith("not run").all()


def test_findings_can_be_read(made):
    table = claims.told(claims.findings(made))
    assert list(table.columns) == ["paper, as printed", "here", "verdict"]
    assert table["here"].str.contains("seeds").all()


def test_an_unknown_metric_is_told(made):
    with pytest.raises(ValueError, match="metric='accuracy' is not in the table"):
        claims.findings(made, "accuracy")
