"""What the SHC paper claims, measured in our own table: one row per claim with difference, interval and verdict.

The column "paper, as printed" holds what its tables say on its own data sets (five, one run each); the other numbers
are ours, on other data. Verdicts are computed: Holm's correction runs over all rows of the table.
"""

import pandas as pd

from shc import frames
from shc.frames import Estimate

HIERARCHICAL = ("super_mAP@ALL", "nDCG@100", "mAHP@250")


def findings(frame: pd.DataFrame, metric: str = "mAP@ALL", bits: int = 32) -> pd.DataFrame:
    """Claims of the paper and what it leaves out, one row each; ablations and what is left out at `bits` bits.

    Columns: claim, "paper, as printed", n, mean, low, high, p, p_holm, verdict ("not run" where the table has no rows).
    """
    frames.check_metric(frame, metric)
    tables = frames.paper_tables()
    like = metric if metric in set(tables["metric"]) else "mAP@ALL"
    rows = against_others(frame, metric, frames.where(tables, table="methods", metric=like))
    rows += why_it_works(frame, metric, bits, frames.where(tables, table="ablation"), like)
    rows += left_out(frame, metric, bits)
    table = pd.DataFrame([dict(claim=c, printed=p, **vars(e)) for c, p, e in rows])
    table = frames.judged(table.rename(columns={"printed": "paper, as printed"}))
    table.loc[table["n"] == 0, "verdict"] = "not run"
    return table


Row = tuple[str, str, Estimate]


def against_others(frame: pd.DataFrame, metric: str, printed: pd.DataFrame) -> list[Row]:
    """SHC above CSQ and MDS at every code length, and whether its gain shrinks with the length."""
    closed, rows = frames.block(frame, "closed"), list[Row]()
    lengths = sorted(closed["bits"].unique())
    for other in ("csq", "mds"):
        gains = printed_gains(printed, "SHC", other.upper())
        ours = {k: frames.seed_differences(frames.where(closed, bits=k), metric, "shc", other) for k in lengths}
        for k, values in ours.items():
            rows.append((f"SHC is above {other.upper()} at {k} bits", spread_of(gains, k), frames.estimate(values)))
        if len(lengths) > 1:
            few, many = lengths[0], lengths[-1]
            at = [part.set_index("bits")["gain"] for _, part in gains.groupby("data")]
            peaks = pd.Series([gain.idxmax() for gain in at]).value_counts().sort_index()
            text = "largest at " + ", ".join(f"{k} bits on {n} of {len(at)} sets" for k, n in peaks.items())
            less = frames.estimate((ours[few] - ours[many]).dropna())
            rows.append((f"its gain over {other.upper()} is larger at {few} than at {many} bits", text, less))
    return rows or [
        ("SHC is above CSQ and MDS", spread_of(printed_gains(printed, "SHC", "CSQ"), 32), frames.estimate([]))
    ]


def why_it_works(frame: pd.DataFrame, metric: str, bits: int, printed: pd.DataFrame, like: str) -> list[Row]:
    """Meaning, minimum distance and the source of S, each with everything else equal."""
    closed = frames.where(frames.block(frame, "closed"), bits=bits)
    kinds = frames.where(frames.block(frame, "solver", ["solver", "centers"]), bits=bits, solver="shc")
    distance = frames.where(frames.block(frame, "distance", ["min_distance"]), bits=bits, method="shc")
    sources = frames.where(frames.block(frame, "similarity", ["similarity"]), bits=bits, method="shc")
    sources = sources[sources["data"] != "shapes"]
    gains = {row: printed_gains(printed, "both", row) for row in ("distance_only", "semantic_only", "bert_similarity")}
    blind, free, text = (spread_of(frames.where(table, metric=like), bits) for table in gains.values())
    below = gains["semantic_only"]["gain"] < 0
    free += f"; negative in {below.sum()} of all {len(below)} cells"
    return [
        ("meaning helps: SHC is above permuted centers", "not reported",
         frames.paired(closed, metric, "shc", "shc, permuted centers")),
        ("meaning helps: SHC is above distance-only centers", blind,
         frames.paired(kinds, metric, "semantic", "distance", by="centers")),
        ("the minimum distance helps: the rule is above none", free,
         frames.paired(distance, metric, "rule", "0", by="min_distance")),
        ("S from the classifier is above S from class names", text,
         frames.paired(sources, metric, "classifier", "names", by="similarity")),
    ]  # fmt: skip


def left_out(frame: pd.DataFrame, metric: str, bits: int) -> list[Row]:
    """What the paper does not report: graded relevance, new drawings beside ones like those trained on, new classes."""
    closed = frames.where(frames.block(frame, "closed"), bits=bits)
    unseen = frames.where(frames.block(frame, "unseen"), bits=bits)
    rows = [
        (f"{score}: SHC is above CSQ", score, closed) for score in HIERARCHICAL if score in closed and score != metric
    ]
    if "seen mAP@ALL" in closed:
        rows.append(("drawings of seen families: SHC is above CSQ", "seen mAP@ALL", closed))
    rows.append(("classes that were never trained: SHC is above CSQ", metric, unseen))
    found = [(claim, "not reported", frames.paired(part, score, "shc", "csq")) for claim, score, part in rows]
    shuffled = frames.paired(unseen, metric, "shc", "shc, permuted centers")
    return [
        *found, ("classes that were never trained: SHC is above permuted centers", "not reported", shuffled)
    ]  # fmt: skip


def printed_gains(printed: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Differences of two methods as printed: metric, data, bits, gain.

    >>> tables = frames.where(frames.paper_tables(), table="methods", metric="mAP@ALL")
    >>> printed_gains(tables, "SHC", "CSQ").query("data == 'CIFAR-100'")["gain"].round(4).tolist()
    [0.0566, 0.0311, 0.0077]
    """
    first, second = (frames.where(printed, method=name) for name in (one, other))
    both = first.merge(second, on=["metric", "data", "bits"], suffixes=("", " of other"), sort=False)
    return both.assign(gain=both["as printed"] - both["as printed of other"])[["metric", "data", "bits", "gain"]]


def spread_of(gains: pd.DataFrame, bits: int) -> str:
    """The range of printed gains at a code length, in words."""
    at = frames.where(gains, bits=bits)["gain"]
    return f"{at.min():+.3f} to {at.max():+.3f}, {len(at)} sets".replace("-", "−") if len(at) else "not reported"


def told(table: pd.DataFrame) -> pd.DataFrame:
    """The findings for reading: claim, paper, our estimate as text in the column "here", verdict."""
    return frames.in_words(table, "here").set_index("claim")[["paper, as printed", "here", "verdict"]]
