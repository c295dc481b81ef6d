"""The README's numbers, as text: each from a record that a named command wrote."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shc.runs import RunError
from shc.scale_page import speed_numbers, training_numbers

if TYPE_CHECKING:
    import pandas as pd


def numbers(records: Path) -> str:
    """The README's first numbers, from the committed records of the runs that printed them."""
    for file, maker in (("quickstart.json", "shc refresh"), ("headline.json", "python benchmarks/headline.py")):
        if not (records / file).exists():
            raise RunError(f"{records / file} is missing, and the README shows its numbers; make it with `{maker}`")
    quick = _record(records / "quickstart.json")
    results, made = quick["results"], quick["results"]["made_with"]
    lines = [
        f"`make run` on {made['device']} took {made['minutes']} minutes after installation (torch {made['torch']}, "
        f"{made['date']}, seed 0). Classifier: top-1 {results['top1']['query_seen']:.3f} on seen drawings, "
        f"{results['top1']['query']:.3f} on the unseen family. "
        f"Its last line: {results['summary']}.",
        "",
    ]
    headline = _record(records / "headline.json")
    lines += [
        f"Mean of {headline['seeds']} seeds (`python benchmarks/headline.py`, {headline['device']}, "
        f"{headline['date']}), "
        f"{headline['bits']} bits, {headline['queries']:,} queries of an unseen family of drawings, "
        f"{headline['database']:,} database images:",
        "",
        "| centers | f(H) | mAP@ALL | super-class mAP | mAP@ALL, seen drawings | SHC relative to it |",
        "|---|---|---|---|---|---|",
    ]
    for kind, row in headline["results"].items():
        mean = {name: sum(values) / len(values) for name, values in row.items()}
        ratio = f"× {headline['ratio'][kind]:.2f}" if kind in headline["ratio"] else ""
        if kind in headline.get("difference", {}):
            gap = headline["difference"][kind]
            ratio += f" ({gap['mean']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})"
        name = {"semantic": "**semantic (SHC)**", "distance": "distance-only"}.get(kind, kind)
        each = " / ".join(f"{value:.3f}" for value in row["mAP@ALL"])
        lines.append(
            f"| {name} | {mean['f']:.4f} | {mean['mAP@ALL']:.3f} ({each}) | {mean['super_mAP@ALL']:.3f} "
            f"| {mean['mAP@ALL seen']:.3f} | {ratio} |"
        )
    lines += [
        "",
        "In brackets: each seed; the difference of mAP@ALL with its 95 % interval, bootstrapped over drawings.",
    ]
    return "\n".join(lines)


def results(records: Path) -> str:
    """The README's tables of results, from those records of benchmark scripts that are there."""
    from shc import frames

    readers: list[tuple[str, Callable[[Any], list[str]]]] = [
        ("comparison.csv", comparison_numbers), ("fashion_mnist.json", fashion_numbers),
        ("recovery.json", recovery_numbers), ("centers.json", center_numbers), ("metrics.json", speed_numbers),
        ("live.json", live_numbers), ("first_click.json", click_numbers),
        ("training.json", training_numbers),
    ]  # fmt: skip
    found: list[str] = []
    for name, write in readers:
        file = records / name
        if file.exists():
            record = frames.read_frame(file) if file.suffix == ".csv" else _record(file)
            found += ["", *write(record)]
    return "\n".join(found[1:])


def own_pictures(records: Path) -> str:
    """The README's sentences on a folder of pictures and on a long one, from the records that are there."""
    readers = [("own_images.json", own_numbers), ("streaming.json", streaming_numbers)]
    return "\n\n".join(write(_record(records / name)) for name, write in readers if (records / name).exists())


def recovery_numbers(record: Mapping[str, Any]) -> list[str]:
    """Lines on the class similarity that the classifier finds, from the record of benchmarks/recovery.py."""
    recovery = record["recovery"]["predicted"]
    return [
        f"On `shapes`, whose exact class similarity is known (`python benchmarks/recovery.py`, {record['device']}, "
        f"{record['date']}, seed {record['seed']}): the classifier's S ranks pairs of the same super-class above "
        f"others with AUC {recovery['auc']:.3f}; Spearman's correlation with the exact similarity is "
        f"{recovery['spearman']:.3f}; the classifier's top-1 is {record['top1']['query']:.3f}."
    ]


def fashion_numbers(record: Mapping[str, Any]) -> list[str]:
    """The table of Fashion-MNIST, from the record of benchmarks/fashion_mnist.py: means over seeds and differences."""
    sizes, names = record["sizes"], {"semantic": "**semantic (SHC)**", "csq": "CSQ's"}
    lines = [
        f"Fashion-MNIST, protocol `{record['protocol']}` (`python benchmarks/fashion_mnist.py`, {record['processor']}, "
        f"{record['threads']} threads, {record['date']}, {record['seeds']} seeds; {sizes['train']:,} training images, "
        f"{sizes['query']:,} queries, {sizes['database']:,} database images, {record['hasher_epochs']} epochs): "
        "hashers that differ in their centers only. In brackets: SHC minus it, with its 95 % interval over queries.",
        "",
        "| centers | bits | mAP@ALL | mAP@1000 | super-class mAP |",
        "|---|---|---|---|---|",
    ]
    for bits in map(str, record["bits"]):
        for kind, row in record["results"][bits].items():
            mean = {name: sum(values) / len(values) for name, values in row.items()}
            gap = record["difference"][bits].get(kind)
            than = f" ({gap['mean']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})" if gap else ""
            lines.append(
                f"| {names.get(kind, kind)} | {bits} | {mean['mAP@ALL']:.3f}{than} | {mean['mAP@1000']:.3f} "
                f"| {mean['super_mAP@ALL']:.3f} |"
            )
    return lines


def own_numbers(record: Mapping[str, Any]) -> str:
    """A sentence on a folder of drawings and photographs, from the record of benchmarks/own_images.py."""
    found = record["results"]["mAP"]
    return (
        f"A folder of {record['pictures']:,} drawings and photographs in {record['classes']} classes "
        f"(`python benchmarks/own_images.py FOLDER …`, {record['cores']} cores, {record['date']}, one seed) took "
        f"{record['minutes']} minutes through notebooks 01 to 05: top-1 {record['top1']['query']:.3f}, mAP@ALL "
        f"{found['semantic']:.3f} at 32 bits, with random centers {found['random']:.3f}."
    )


def streaming_numbers(record: Mapping[str, Any]) -> str:
    """A sentence on images that stay in their files, from the record of benchmarks/streaming.py."""
    steps = record["steps"]
    rise = max(max(row["megabytes"]) - row["megabytes"][0] for row in (steps["predict"], steps["fit"]))
    return (
        f"A large folder stays on the disk and is decoded as it is needed: over {record['images']:,} JPEGs "
        f"(`python benchmarks/streaming.py`, {record['cores']} cores, {record['date']}) memory rose by at "
        f"most {rise:.0f} MB after the first batches, where all of them in memory would take "
        f"{record['tensor_megabytes']:,} MB; "
        f"{steps['fit']['images_per_second']:,.0f} images per second went through an epoch of training."
    )


def live_numbers(record: Mapping[str, Any]) -> list[str]:
    """A sentence on what watching the optimizer costs, from the record of benchmarks/live.py."""
    found = [
        f"at {bits} {row['hold_up']:.1%} longer than alone, pictures {row['lag']:.2f} s behind (median) and "
        f"{row['longest_lag']:.2f} s at most"
        for bits, row in record["found"].items()
    ]
    return [
        f"Notebook 3's optimizer, watched (`python benchmarks/live.py`, {record['device']}, {record['date']}, "
        f"{record['classes']} classes, medians of {record['repeats']} runs): {'; '.join(found)}."
    ]


def click_numbers(record: Mapping[str, Any]) -> list[str]:
    """A sentence on the way to the first own click, from the record of benchmarks/first_click.py."""
    return [
        f"From the start of JupyterLab through notebooks 1 to 5 in quick mode to the answer to a first click in the "
        f"retrieval explorer (`python benchmarks/first_click.py`, {record['processor']}, {record['cores']} cores, "
        f"{record['date']}): {record['minutes']} minutes."
    ]


def _record(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


COLUMNS = {
    "emoji, 16 bits": dict(block="closed", bits=16),
    "32 bits": dict(block="closed", bits=32),
    "64 bits": dict(block="closed", bits=64),
    "unseen classes, 32 bits": dict(block="unseen", bits=32),
    "shapes, 32 bits": dict(block="shapes", bits=32),
}


def comparison_numbers(frame: "pd.DataFrame") -> list[str]:
    """The table of methods from a sweep's frame: mean mAP@ALL, half its interval over seeds, and what each saw."""
    import pandas as pd

    from shc import frames

    hashed = frame[(frame["codes"] == "hashed") & (frame["split"] == "query")]
    found = {name: frames.where(hashed, **chosen) for name, chosen in COLUMNS.items()}
    text = {
        name: {
            row.label: f"{frames.level_text(row.mean, row.low, row.high)} ({row.n})"
            for row in frames.summary(rows, "mAP@ALL").itertuples()
        }
        for name, rows in found.items()
    }
    first = next((rows for rows in found.values() if len(rows)), hashed)
    shown = pd.concat(found.values())
    ranked = found["32 bits"] if len(found["32 bits"]) else first
    order = [*ranked.groupby("label")["mAP@ALL"].mean().sort_values(ascending=False).index, *shown["label"]]
    made = hashed.iloc[0]
    lines = [
        "Every method from one classifier per seed, under one budget (`shc sweep benchmarks/comparison.yaml`, CPU, "
        f"torch {made['torch']}, {max(hashed['date'])}; {made['scale']:.0%} of the images: "
        f"{first['queries'].iloc[0]:,.0f} queries, {first['database'].iloc[0]:,.0f} database images, "
        f"{made['hasher_epochs']:.0f} epochs): mAP@ALL, ± half of its 95 % interval over seeds (how many). An empty "
        "cell was not run.",
        "",
        f"| method | saw | {' | '.join(COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for label in dict.fromkeys(order):
        saw = "; ".join(sorted(set(shown.loc[shown["label"] == label, "information"])))
        values = " | ".join(column.get(label, "") for column in text.values())
        name = f"**{label}**" if label == "shc" else label
        lines.append(f"| {name} | {saw} | {values} |")
    return lines


def center_numbers(record: Mapping[str, Any]) -> list[str]:
    """Lines on the center optimizer, from the record of benchmarks/centers.py."""
    lines = [
        f"The center optimizer on simulated class similarities (`python benchmarks/centers.py`, {record['device']}, "
        f"{record['date']}, seed {record['seed']}): the loss f that it reaches, how far it can be from the optimum at "
        "most, and what the authors' algorithm reaches, vectorized, beside what ours has in the same time.",
        "",
        "| classes | bits | d | f | seconds | f / lower bound | authors' algorithm | ours in its time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        ours, theirs = row["shc"], row["paper-code"]
        shorter = f"{row['same_time']['loss']:.4f}" if "same_time" in row else "–"
        lines.append(
            f"| {row['classes']} | {row['bits']} | {row['min_distance']} | {ours['loss']:.4f} | {ours['seconds']:.1f} "
            f"| {ours['loss'] / row['bound']:.2f} | {theirs['loss']:.4f} in {theirs['seconds']:.1f} s "
            f"| {shorter} |"
        )
    grown = [
        f"{row['classes']:,} classes × {row['bits']} bits {row['seconds']:.0f} s, {row['gigabytes']:.1f} GB"
        for row in record["growth"]
    ]
    if grown:
        lines += ["", f"Larger sets, one thread: {'; '.join(grown)}."]
    return lines
