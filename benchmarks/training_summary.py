"""What the measurements of benchmarks/training.py say, as the entries of its record."""

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from shc.estimates import Estimate, estimate


def in_turns(
    passes: list[dict[str, float]],
    steps: list[float] | None,
    plain_passes: list[dict[str, float]] | None,
    plain_steps: list[float] | None,
) -> dict[str, Any]:
    """Median, lowest and highest images/s, and the median ratio to the plain loop's of the same turn."""
    rates = {name: [turn[name] for turn in passes] for name in passes[0]} | ({"step": steps} if steps else {})
    row: dict[str, Any] = dict(
        images_per_second={n: [round(f(v), 1) for f in (statistics.median, min, max)] for n, v in rates.items()},
    )
    if plain_passes is not None and plain_steps is not None:
        beside = {name: [turn[name] for turn in plain_passes] for name in passes[0]} | {"step": plain_steps}
        row["ratio"] = {
            name: round(statistics.median(a / b for a, b in zip(values, beside[name], strict=True)), 2)
            for name, values in rates.items()
        }
    return row


def in_words(row: dict[str, Any]) -> str:
    rates = "; ".join(
        f"{name} {value[0]:,.0f}" + (f" (× {row['ratio'][name]:.2f})" if "ratio" in row else "")
        for name, value in row["images_per_second"].items()
    )
    return f"{row['net']:<9}{row['loop']:<6}{row['dtype']:<9}{row['layout']:<14}{rates}"


def compared(done: list[dict[str, Any]]) -> dict[str, Any]:
    """What the trainings say: accuracy at equal epochs, and the time until val reaches what every training ends with.

    The threshold is the lowest final accuracy of all trainings of both loops, so that each of them reaches it.
    """
    loops: dict[str, dict[int, dict[str, Any]]] = {}
    for run in done:
        loops.setdefault(run["loop"], {})[run["seed"]] = run
    plain = loops.pop("plain")
    threshold = min(run["val"][-1] for run in done)
    found: dict[str, Any] = {}
    for loop, seeds in loops.items():
        gaps = estimate(run["val"][-1] - plain[seed]["val"][-1] for seed, run in seeds.items())
        ratios = [_to(run, threshold) / _to(plain[seed], threshold) for seed, run in seeds.items()]
        share = estimate(ratios)
        finals = [run["val"][-1] for run in seeds.values()]
        found[loop] = dict(
            final=dict(mean=_round(statistics.mean(finals)), lowest=min(finals), highest=max(finals)),
            final_minus_plain=_interval(gaps),
            time_to_threshold_over_plain=dict(
                each=[_round(r) for r in ratios], **_interval(share)
            ),
            epoch_seconds_over_plain=_round(statistics.median(_epoch_ratios(seeds, plain))),
        )  # fmt: skip
    ends = [run["val"][-1] for run in plain.values()]
    return dict(threshold=threshold, plain_final=_round(statistics.mean(ends)), compared=found)


def _to(run: dict[str, Any], threshold: float) -> float:
    """Seconds until val reached the threshold: epochs needed × the median epoch, which a disturbed one cannot spoil."""
    needed = next(epoch for epoch, value in enumerate(run["val"], 1) if value >= threshold)
    return needed * statistics.median(b - a for a, b in itertools.pairwise([0.0, *run["seconds"]]))


def _epoch_ratios(seeds: dict[int, Any], plain: dict[int, Any]) -> Iterator[float]:
    for seed, run in seeds.items():
        both = [[b - a for a, b in itertools.pairwise([0.0, *r["seconds"]])] for r in (run, plain[seed])]
        yield from (a / b for a, b in zip(*both, strict=True))


def _round(value: float) -> float | None:
    """A number for JSON, which does not know NaN."""
    return round(value, 4) if value == value else None


def _interval(of: Estimate) -> dict[str, float | None]:
    return dict(mean=_round(of.mean), low=_round(of.low), high=_round(of.high))


def by_schedule(rows: list[dict[str, Any]], default: dict[str, Any]) -> list[dict[str, Any]]:
    """Each schedule's val over its seeds, and beside the default's, paired by seed; fewest images first."""
    groups: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in default), {})[row["seed"]] = row
    first, found = groups.get(tuple(default.values()), {}), []
    for schedule, seeds in groups.items():
        values = [row["val"] for row in seeds.values()]
        gap = estimate(row["val"] - first[seed]["val"] for seed, row in seeds.items() if seed in first)
        found.append(
            dict(zip(default, schedule, strict=True))
            | dict(images=next(iter(seeds.values()))["images"], seeds=len(seeds), val=_round(statistics.mean(values)))
            | dict(deviation=_round(statistics.stdev(values)) if len(values) > 1 else None)
            | dict(lowest=min(values), highest=max(values), minus_default=_interval(gap))
        )
    return sorted(found, key=lambda entry: entry["images"])
