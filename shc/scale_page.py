"""The numbers of README and docs/scale.md on speed, as text: from the records that `benchmarks/` scripts wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

TIMES = {"minutes": 60, "hours": 3600, "days": 86_400}
SIZES = (10**6, 10**8, 10**9)


def in_time(seconds: float) -> str:
    """Seconds in the unit that people would use.

    >>> in_time(0.004), in_time(30), in_time(7200)
    ('0.004 s', '30 s', '2.0 hours')
    """
    unit, name = max(((size, name) for name, size in TIMES.items() if seconds >= 2 * size), default=(1, "s"))
    value = seconds / unit
    return f"{value:.2g} s" if unit == 1 and value < 10 else f"{value:.0f} s" if unit == 1 else f"{value:.1f} {name}"


def in_bytes(count: float) -> str:
    """A number of bytes in MB or GB.

    >>> in_bytes(8e6), in_bytes(8e9)
    ('8 MB', '8.0 GB')
    """
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def speed_numbers(record: Mapping[str, Any]) -> list[str]:
    """README's table of evaluation speed, from the record of benchmarks/metrics.py."""
    lines = [
        "Exact, tie-aware evaluation beside the loop that papers usually evaluate with "
        f"(`python benchmarks/metrics.py`, {record['processor']}, one thread, {record['date']}, "
        f"medians of {record['repeats']}): seconds for all queries, and times the loop's speed. "
        "The loop gets labels as int64, as in published code, or as float32, which it takes faster.",
        "",
        "| queries × database | bits | classes | usual loop, mAP | with float32 labels | NumPy, mAP | numba, mAP "
        "| numba, all metrics |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        seconds, faster = row["seconds"], row["times_faster"]
        cell = lambda name, s=seconds, f=faster: f"{s[name][0]:.3g} s (× {f[name]:.0f})" if name in s else "–"
        lines.append(
            f"| {row['queries']:,} × {row['database']:,} | {row['bits']} | {row['classes']} "
            f"| {seconds['usual loop'][0]:.3g} s | {seconds['usual loop, float32 labels'][0]:.3g} s "
            f"| {cell('numpy')} | {cell('numba')} | {cell('numba, all metrics')} |"
        )
    return lines


def training_numbers(record: Mapping[str, Any]) -> list[str]:
    """README's lines on training speed, from the record of benchmarks/training.py; parts not measured are left out."""
    lines: list[str] = []
    for part in ("speed", "gpu"):
        if record.get(part):
            lines += [*training_speed(record[part]), ""]
    if not record.get("gpu"):
        lines += ["No GPU was available: the record's part for one is empty.", ""]
    if done := record.get("trainings"):
        seeds = len({run["seed"] for run in done["runs"]})
        told = [
            f"{loop.removeprefix('ours, ')}: {interval(row['final_minus_plain'], 3, '+')} top-1 beside the plain "
            f"loop's; time to {done['threshold']:.3f} × {interval(row['time_to_threshold_over_plain'], 2)} of its"
            for loop, row in done["compared"].items()
        ]
        lines += [
            f"The default training on `emoji` ({done['epochs']} epochs; {seeds} seeds"
            f"{', 95 % interval in brackets' if seeds > 2 else ', too few for an interval'}) by "
            f"both loops, judged on val; the plain loop ends with {done['plain_final']:.3f}. {'. '.join(told)}.",
            "",
        ]
    if tried := record.get("tuning"):
        lines += [*schedules_tried(tried["schedules"]), ""]
    return lines[:-1]


def schedules_tried(schedules: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of schedules by `shc.training.fit` on val, the one with the fewest images first."""
    lines = [
        "Schedules of ours on the same data, over seeds: top-1 on val, its standard deviation between seeds, and the "
        "difference to the default of the same seeds (95 % interval in brackets; the default's is 0).",
        "",
        "| epochs | batch | learning rate | images | seeds | top-1 on val | deviation | beside the default |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in schedules:
        gap, deviation = interval(row["minus_default"], 3, "+"), row["deviation"]
        lines.append(
            f"| {row['epochs']} | {row['batch']} | {row['lr']:g} | {row['images']:,} | {row['seeds']} "
            f"| {row['val']:.3f} | {'–' if deviation is None else f'{deviation:.3f}'} | {gap} |"
        )
    return lines


def training_speed(part: Mapping[str, Any]) -> list[str]:
    """The table of images/s on one device."""
    lines = [
        "Training beside the loop that a user of torch and torchvision would write (`python benchmarks/training.py`, "
        f"{part['device']}, {part['threads']} threads, {part['date']}; medians of turns on a shared machine): images/s "
        "of whole steps with augmentation, times the plain loop's; share of the rate at which torch multiplies large "
        "matrices there, which convolutions, written for the processor, can surpass.",
        "",
        "| net | pixels | batch | plain loop, float32 | ours, float32 | ours, bfloat16 | share, float32 | bfloat16 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for net in dict.fromkeys(row["net"] for row in part["rows"]):
        rows = [row for row in part["rows"] if row["net"] == net and "step" in row["images_per_second"]]
        plain, *ours = rows
        rates = [f"{row['images_per_second']['step'][0]:,.0f} (× {row['ratio']['step']:.2f})" for row in ours]
        shares = [f"{row['matmul_share']['step']:.0%}" for row in ours]
        first = f"{plain['images_per_second']['step'][0]:,.0f}"
        lines.append("| " + " | ".join([net, str(plain["size"]), str(plain["batch"]), first, *rates, *shares]) + " |")
    return lines


def interval(found: Mapping[str, Any], digits: int, sign: str = "") -> str:
    """A mean with its interval in brackets, if there were seeds enough for one.

    >>> interval(dict(mean=0.5, low=0.4, high=0.6), 2), interval(dict(mean=0.5, low=None, high=None), 1)
    ('0.50 (0.40 to 0.60)', '0.5')
    """
    values = (found[name] for name in ("mean", "low", "high"))
    mean, low, high = ("" if value is None else f"{value:{sign}.{digits}f}" for value in values)
    return f"{mean} ({low} to {high})" if low else mean


def search_numbers(record: Mapping[str, Any]) -> list[str]:
    """The table of search engines of docs/scale.md, from the record of benchmarks/search.py."""
    lines = [
        f"Search engines on {record['items']:,} codes of {record['bits']} bits, the {record['k']} nearest "
        f"(`python benchmarks/search.py`, {record['device']}, {record['date']}, medians of {record['repeats']}); "
        "recall counts items no farther than the true last one.",
        "",
        "| engine | codes | building it | queries/s, one core | all cores | recall | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["results"]:
        rates = row["queries_per_second"]
        lines.append(
            f"| `{row['engine']}` | {row['data']} | {in_time(row['build_seconds'])} | {rates['one']:,.0f} "
            f"| {rates['all']:,.0f} | {row['recall']:.3f} | {row['memory_mb']:.0f} MB |"
        )
    ratios = [row["ratio"] for rows in record["against_faiss"].values() for row in rows if row["queries"] > 1]
    return [
        *lines,
        "",
        f"A block of {record['queries']:,} queries to `memory:` takes {min(ratios):.2f} to {max(ratios):.2f} times "
        "what calling faiss directly takes, on medians.",
    ]


def scale_numbers(record: Mapping[str, Any]) -> list[str]:
    """The tables of docs/scale.md, from the record of benchmarks/scale.py: what was measured, and what follows."""
    queries, largest = record["queries"], record["rows"][-1]
    searched = [row for row in record["rows"] if "searching" in row][-1]
    pair = largest["counting"]["seconds"] / queries / largest["database"]
    find = searched["searching"]["seconds"] / queries / searched["database"]
    image = 1 / record["encode"]["images_per_second"]
    octets = record["bits"] / 8
    lines = [
        f"Measured (`python benchmarks/scale.py`, {record['processor']}, {record['threads']} threads, "
        f"{record['date']}, {record['bits']} bits, {record['classes']} classes, {queries} queries):",
        "",
        "| codes | counting for an evaluation | memory for it | building an index | memory for it | the "
        f"{record['k']} nearest |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        index = (
            f"{in_time(row['building']['seconds'])} | {row['building']['megabytes']:.0f} MB "
            f"| {in_time(row['searching']['seconds'])}"
            if "searching" in row
            else "– | – | –"
        )
        count = row["counting"]
        lines.append(f"| {row['database']:,} | {in_time(count['seconds'])} | {count['megabytes']:.0f} MB | {index} |")
    lines += [
        "",
        f"Unit costs: {pair * 1e9:.2f} ns to count a pair of a query and an item, {find * 1e9:.2f} ns to search past "
        f"an item, {image * 1e6:.0f} µs to encode an image ({record['encode']['net']}, "
        f"{record['encode']['size']} pixels, {record['encode']['device']}), {octets:.0f} bytes to keep a "
        "code. From them, for one such machine:",
        "",
        "| images | encode them all | codes | evaluate 1,000 queries | search for one |",
        "|---|---|---|---|---|",
    ]
    for size in SIZES:
        lines.append(
            f"| {size:,} | {in_time(size * image)} | {in_bytes(size * octets)} | {in_time(size * pair * 1000)} "
            f"| {in_time(size * find)} |"
        )
    return lines
