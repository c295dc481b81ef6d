"""The table of a sweep: read it, choose rows that may be compared, and compare methods on the seeds they share.

One row is one run and code variant. What seeds allow to say is computed in `shc.estimates`, whose functions can be
called from here too.
"""

import hashlib
import json
from collections.abc import Hashable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shc import methods
from shc.estimates import Estimate, estimate, holm, level_text, verdict

TEXT = (
    "block", "cell", "data", "protocol", "method", "options", "centers", "solver", "min_distance", "similarity", "init",
    "split", "codes", "information", "curve",
)  # fmt: skip
NUMBERS = (
    "scale", "size", "fold", "bits", "shuffled", "epochs", "hasher_epochs", "hasher_lr", "batch", "seed", "mAP@ALL",
    "f", "d", "val", "best_epoch", "seconds_classifier", "seconds_centers", "seconds_hasher", "queries", "database",
)  # fmt: skip
FLAGS = ("frozen", "circular")
SCORES = ("mAP@ALL", "mAP@100", "mAP@1000", "super_mAP@ALL", "nDCG@100", "mAHP@250", "P@H<=2", "seen mAP@ALL")
# two rows that agree in all of these and in the seed are the same run
MATCHED = (
    "data", "protocol", "scale", "size", "fold", "bits", "method", "options", "centers", "solver", "min_distance",
    "similarity", "shuffled", "init", "frozen", "epochs", "hasher_epochs", "hasher_lr", "batch", "split", "codes",
)  # fmt: skip
__all__ = [
    "Estimate", "block", "check_metric", "curves", "differences", "digest", "estimate", "holm", "in_words",
    "judged", "label", "level_text", "one_condition", "paired", "paper_tables", "protocol", "read_frame", "score_table",
    "seed_differences", "slopes", "summary", "time_to", "verdict", "where",
]  # fmt: skip


# ------------------------------------------------------------------------------------------ reading


def read_frame(file: str | Path) -> pd.DataFrame:
    """The table that `shc sweep` gathered, one row per run and code variant, with a `label` for each row's method.

    Raises ValueError that names the columns that are missing, or the value that is not of its column's type.
    """
    file = Path(file)
    if not file.is_file():
        raise ValueError(f"frame={str(file)!r} is not a file; give the table that `shc sweep` gathered")
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own are such, and that of what is no text
        raise ValueError(f"{file.name} is not a readable table ({error}); gather it again with `shc sweep`") from error
    missing = [name for name in (*TEXT, *NUMBERS, *FLAGS) if name not in frame.columns]
    if missing:
        raise ValueError(f"{file.name} lacks the columns {', '.join(missing)}; gather it again with `shc sweep`")
    for name in NUMBERS:
        frame[name] = _numbers(frame[name], file.name)
    for name in FLAGS:
        frame[name] = _flags(frame[name], file.name)
    for name in frame.columns.difference((*TEXT, *NUMBERS, *FLAGS)):
        values = pd.to_numeric(frame[name].replace("", None), errors="coerce")
        if name in SCORES or (values.notna() == (frame[name] != "")).all():
            frame[name] = _numbers(frame[name], file.name)
    for name in ("bits", "seed"):
        if (wrong := frame[name][~(frame[name] % 1 == 0)]).size:
            raise ValueError(f"{file.name}, row {wrong.index[0] + 2}: {name}={wrong.iloc[0]} is not a whole number")
        frame[name] = frame[name].astype(int)
    return frame.assign(label=[label(row) for _, row in frame.iterrows()])


def digest(file: str | Path) -> str:
    """Eight characters that tell one version of the table from another."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]


def label(row: "pd.Series[Any] | dict[str, Any]") -> str:
    """What a row is called: its method, and its centers where they are not those that the method was published with.

    A method that claims to see no labels is also told by its start if that saw them.

    >>> label({"method": "shc", "centers": "semantic"}), label({"method": "shc", "centers": "permuted"})
    ('shc', 'shc, permuted centers')
    """
    known = _methods().get(row["method"])
    if known and known.start == "scratch" and row["init"] == "classifier":
        return f"{row['method']}, from the classifier"
    usual = known.default_centers if known else row["centers"]
    return row["method"] if row["centers"] in ("", usual) else f"{row['method']}, {row['centers']} centers"


@cache
def _methods() -> dict[str, methods.MethodInfo]:
    return methods.available()


def _numbers(column: "pd.Series[Any]", file: str) -> "pd.Series[Any]":
    values = pd.to_numeric(column.replace("", None), errors="coerce")
    wrong = column[values.isna() & ~column.str.lower().isin(["", "nan"])]
    if len(wrong):
        raise ValueError(f"{file}, row {wrong.index[0] + 2}: {column.name}={wrong.iloc[0]!r} is not a number")
    return values


def _flags(column: "pd.Series[Any]", file: str) -> "pd.Series[Any]":
    known = {"true": True, "1": True, "false": False, "0": False, "": False}
    wrong = column[~column.str.lower().isin(list(known))]
    if len(wrong):
        raise ValueError(f"{file}, row {wrong.index[0] + 2}: {column.name}={wrong.iloc[0]!r} is not True or False")
    return column.str.lower().map(known).astype(bool)


# ------------------------------------------------------------------------------------------ choosing rows


def block(frame: pd.DataFrame, name: str, varied: Sequence[str] = (), split: str = "query") -> pd.DataFrame:
    """Rows of a block, and rows of other blocks that differ from one of them only in the `varied` parameters.

    A sweep runs equal cells once, under the block that comes first, so that one side of a comparison may stand there.
    Only network codes (`codes` hashed) unless `codes` is among `varied`. Empty if the block was not run.
    """
    unknown = [column for column in varied if column not in MATCHED]
    if unknown:
        raise ValueError(f"varied={unknown[0]!r} is no parameter of a run; choose among {', '.join(MATCHED)}")
    usable = frame["split"] == split
    if "codes" not in varied:
        usable &= frame["codes"] == "hashed"
    rows = frame[usable]
    own = rows[rows["block"] == name]
    same = [column for column in MATCHED if column not in varied]
    others = rows[rows["block"] != name].merge(own[same].drop_duplicates(), on=same)
    together = pd.concat([own, others], ignore_index=True) if len(others) else own
    return together.drop_duplicates([*MATCHED, "seed"], ignore_index=True)


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Rows whose columns have these values.

    >>> where(pd.DataFrame({"bits": [16, 32], "seed": [0, 0]}), bits=32).to_dict("records")
    [{'bits': 32, 'seed': 0}]
    """
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def one_condition(frame: pd.DataFrame, by: str) -> None:
    """Raise ValueError if a seed occurs twice for one value of `by`: such rows are not comparable as they stand."""
    twice = frame[frame.duplicated([by, "seed"], keep=False)]
    if len(twice):
        first = twice[(twice[by] == twice[by].iloc[0]) & (twice["seed"] == twice["seed"].iloc[0])]
        differ = [column for column in MATCHED if column in first and first[column].nunique(dropna=False) > 1]
        raise ValueError(
            f"{by}={first[by].iloc[0]!r} has {len(first)} rows with seed {first['seed'].iloc[0]}, which differ in "
            f"{', '.join(differ) or 'no parameter'}; choose the rows of one of them first"
        )


# ------------------------------------------------------------------------------------------ estimates


def summary(frame: pd.DataFrame, metric: str, by: Sequence[str] = ("label",), level: float = 0.95) -> pd.DataFrame:
    """One row per combination of `by`: mean, sd, n seeds and t-interval (low, high) of the metric.

    >>> runs = pd.DataFrame({"label": ["shc"] * 3, "seed": [0, 1, 2], "mAP@ALL": [0.48, 0.49, 0.50]})
    >>> summary(runs, "mAP@ALL").round(3).to_dict("records")
    [{'label': 'shc', 'mean': 0.49, 'sd': 0.01, 'n': 3, 'low': 0.465, 'high': 0.515}]
    """
    check_metric(frame, metric)
    rows = []
    for key, part in frame.groupby(list(by), sort=False):
        values = part[metric].dropna()
        if len(values):
            found = estimate(values, level)
            numbers = dict(mean=found.mean, sd=float(values.std(ddof=1)), n=found.n, low=found.low, high=found.high)
            rows.append(dict(zip(by, key, strict=True)) | numbers)
    return pd.DataFrame(rows, columns=[*by, "mean", "sd", "n", "low", "high"])


def check_metric(frame: pd.DataFrame, metric: str) -> None:
    """Raise ValueError if the table has no such metric."""
    if metric not in frame.columns:
        known = [name for name in SCORES if name in frame.columns]
        raise ValueError(f"metric={metric!r} is not in the table; it has {', '.join(known)}")
    if len(frame) and not pd.api.types.is_numeric_dtype(frame[metric]):
        raise ValueError(f"metric={metric!r} holds no numbers; choose a score such as {SCORES[0]}")


def seed_differences(frame: pd.DataFrame, metric: str, one: Hashable, other: Hashable, by: str = "label") -> pd.Series:
    """Metric of `one` minus that of `other` for every seed that both have, indexed by seed."""
    check_metric(frame, metric)
    rows = frame[frame[by].isin([one, other])]
    one_condition(rows, by)
    first, second = (rows[rows[by] == name].set_index("seed")[metric] for name in (one, other))
    return (first - second).dropna()


def paired(
    frame: pd.DataFrame, metric: str, one: Hashable, other: Hashable, by: str = "label", level: float = 0.95
) -> Estimate:
    """Mean difference `one` − `other` over their common seeds; `by` is the column that holds the two names.

    >>> runs = pd.DataFrame({"label": ["shc", "csq"] * 3, "seed": [0, 0, 1, 1, 2, 2]})
    >>> print(paired(runs.assign(mAP=[0.49, 0.42, 0.50, 0.44, 0.49, 0.44]), "mAP", "shc", "csq"))
    +0.060 (+0.035 to +0.085), 3 seeds
    """
    return estimate(seed_differences(frame, metric, one, other, by), level)


def differences(
    frame: pd.DataFrame,
    metric: str,
    one: str = "shc",
    others: Sequence[str] | None = None,
    within: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """`paired` of `one` with every other label (inside every value of `within`), Holm over all rows, and verdicts.

    Columns: `within`, other, n, mean, low, high, p, information, circular, p_holm, verdict of "one is above other".
    """
    rows = []
    for value, part in frame.groupby(within) if within else [(None, frame)]:
        names = list(dict.fromkeys(part["label"])) if others is None else others
        for name in [name for name in names if name != one]:
            found = paired(part, metric, one, name, level=level)
            if found.n:
                first = part[part["label"] == name].iloc[0]
                told = dict(other=name, **vars(found), information=first["information"], circular=first["circular"])
                rows.append(({within: value} if within else {}) | told)
    columns = ["other", "n", "mean", "low", "high", "p", "information", "circular"]
    return judged(pd.DataFrame(rows, columns=[*([within] if within else []), *columns]))


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table of estimates (columns n, low, high, p) with Holm's p-values over all its rows, and verdicts."""
    table = table.assign(p_holm=holm(table["p"]))
    told = [verdict(row.low, row.high, row.n, row.p_holm) for row in table.itertuples()]
    return table.assign(verdict=told)


def in_words(table: pd.DataFrame, name: str = "difference") -> pd.DataFrame:
    """The table of estimates (columns n, mean, low, high, p) with one more column that tells them as text."""
    found = [Estimate(row.n, row.mean, row.low, row.high, row.p) for row in table.itertuples()]
    return table.assign(**{name: [str(e) for e in found]})


def slopes(frame: pd.DataFrame, x: str, y: str) -> pd.Series:
    """Least-squares slope of column `y` on column `x` for every seed that has at least two values of `x`.

    >>> slopes(pd.DataFrame({"seed": [0, 0, 1, 1], "f": [1, 2, 1, 3], "mAP": [5, 4, 5, 1]}), "f", "mAP").tolist()
    [-1.0, -2.0]
    """
    found = {}
    for seed, part in frame.dropna(subset=[x, y]).groupby("seed"):
        if part[x].nunique() > 1:
            away = part[x] - part[x].mean()
            found[seed] = float((away * part[y]).sum() / (away**2).sum())
    return pd.Series(found, dtype=float)


# ------------------------------------------------------------------------------------------ curves, tables


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Validation values along training, one row per run and epoch: label, seed, epoch, val, seconds.

    Seconds count all that a run needs: the classifier (stage 1) for those that start from it, the centers, and the
    hasher's training (validations included) in equal parts per epoch.
    """
    rows = []
    for run in frame.itertuples():
        points = [point.split(":") for point in str(run.curve).split()]
        before = 0.0 if np.isnan(run.seconds_centers) else float(run.seconds_centers)
        before += float(run.seconds_classifier) if run.init == "classifier" else 0.0
        for epoch, value in points:
            seconds = before + float(run.seconds_hasher) * int(epoch) / int(points[-1][0])
            rows.append((run.label, run.seed, int(epoch), float(value), seconds))
    return pd.DataFrame(rows, columns=["label", "seed", "epoch", "val", "seconds"])


def time_to(curves: pd.DataFrame, share: float = 0.95) -> pd.DataFrame:
    """Per label: mean best validation value, and mean epoch and seconds at which `share` of it is first reached."""
    rows = []
    for (name, seed), run in curves.groupby(["label", "seed"], sort=False):
        reached = run[run["val"] >= share * run["val"].max()].sort_values("epoch").iloc[0]
        rows.append((name, seed, run["val"].max(), reached["epoch"], reached["seconds"]))
    table = pd.DataFrame(rows, columns=["label", "seed", "best", "epoch", "seconds"])
    return table.groupby("label", sort=False)[["best", "epoch", "seconds"]].mean()


def score_table(frame: pd.DataFrame, scores: Sequence[str], by: str = "label") -> pd.DataFrame:
    """Means with half the width of their t-intervals as text, one row per value of `by`, the best first score first."""
    columns: dict[str, dict[Any, str]] = {}
    for score in scores:
        found = summary(frame, score, [by]).sort_values("mean", ascending=False)
        columns[score] = {getattr(row, by): level_text(row.mean, row.low, row.high) for row in found.itertuples()}
    table = pd.DataFrame(columns).rename_axis(by).fillna("–")
    groups = frame.groupby(by)
    tree = groups["circular"].all().map({True: "yes", False: ""})
    return table.assign(seeds=groups["seed"].nunique(), **{"saw the tree": tree})


def protocol(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per block: what was compared on which data, how often, for how long, and what was trained of the network.

    Methods without training, which only set a last layer, have no say in that.
    """

    def told(part: pd.DataFrame, column: str) -> str:
        values = sorted(part[column].dropna().unique())
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)

    untrained = [name for name, known in _methods().items() if not known.build.trained]  # type: ignore[attr-defined]
    frame = frame.assign(trained=frame["frozen"].map({True: "last layer", False: "whole network"}))
    frame["trained"] = frame["trained"].where(~frame["method"].isin(untrained))
    rows = {}
    for name, part in frame.groupby("block", sort=False):
        row = {column: told(part, column) for column in ("data", "protocol", "bits", "hasher_epochs", "trained")}
        row |= {"methods": part["label"].nunique(), "runs": part["cell"].nunique(), "seeds": part["seed"].nunique()}
        rows[name] = row | {column: told(part, column) for column in ("queries", "database")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("block")


def paper_tables() -> pd.DataFrame:
    """The SHC paper's tables 4 to 8 as printed: one row per table, metric, method, data set and code length.

    They were measured on other data with other networks and another convention: never set them beside our numbers.

    >>> rows = paper_tables()
    >>> rows = where(rows, table="methods", metric="mAP@ALL", method="SHC", data="CIFAR-100")
    >>> dict(zip(rows["bits"].tolist(), rows["as printed"].tolist()))
    {16: 0.4838, 32: 0.5186, 64: 0.5262}
    """
    stored = json.loads((files("shc") / "data" / "paper_tables.json").read_text(encoding="utf-8"))
    rows = [
        (table, metric, method, data, int(bits), value)
        for table in ("methods", "ablation")
        for metric, by_method in stored[table].items()
        for method, by_data in by_method.items()
        for data, by_bits in by_data.items()
        for bits, value in by_bits.items()
    ]
    frame = pd.DataFrame(rows, columns=["table", "metric", "method", "data", "bits", "as printed"])
    frame.attrs |= {"source": stored["source"], "notes": stored["notes"]}
    return frame
