"""The command line: `shc run`, `search`, `sweep`, `report`, `refresh`, `datasets`, `methods`."""

import argparse
import sys
from collections.abc import Sequence

from shc import pipeline
from shc.runs import Run, RunError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 for a mistake in its arguments and 1 for a failure on the way."""
    parser = argparse.ArgumentParser(prog="shc", description="Semantic hash centers: run, report, list.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="execute the notebook sequence headless and write its report")
    run.add_argument("--name", default="quickstart", help="run folder under runs/ (default: quickstart)")
    run.add_argument("--quick", action="store_true", help="a fifth of the data, short training: minutes")
    run.add_argument("--from", dest="first", metavar="NB", help="execute this notebook and all after it, e.g. 03")
    run.add_argument("--only", metavar="NB", help="execute this notebook only, e.g. 05")
    run.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    run.add_argument("--data", help="data set, short for --set data=…")
    run.add_argument("--parameters", action="store_true", help="list all parameters and stop")
    sweep = commands.add_parser("sweep", help="run one notebook under many parameters, and gather one table")
    sweep.add_argument("file", metavar="FILE", help="sweep file, e.g. benchmarks/comparison.yaml")
    sweep.add_argument("--jobs", type=int, default=1, metavar="N", help="cells that run at the same time (default: 1)")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster instead, e.g. tcp://host:8786")
    sweep.add_argument("--list", action="store_true", help="list the cells and which are finished; run nothing")
    sweep.add_argument("--table", metavar="PATH", help="copy results.csv there when all cells are finished")
    search = commands.add_parser("search", help="find a run's images that look like a picture of yours")
    search.add_argument("--run", default="runs/quickstart", metavar="FOLDER", help="run folder (runs/quickstart)")
    search.add_argument("--image", action="append", required=True, metavar="FILE", help="a picture; may be repeated")
    search.add_argument("-k", type=int, default=10, metavar="N", help="neighbors to find (default: 10)")
    search.add_argument("--index", default="memory:", metavar="URI", help="memory:FOLDER, lance:FOLDER, lance+s3://…")
    search.add_argument("--out", metavar="FILE", help="where to write the picture (default: FOLDER/figures/search.png)")
    for name, text in (
        ("report", "write a run's index.html again"),
        ("refresh", "put a run's outputs into the committed notebooks"),
    ):
        commands.add_parser(name, help=text).add_argument("--name", default="quickstart", help="run folder under runs/")
    commands.add_parser("datasets", help="list the data sets")
    commands.add_parser("methods", help="list the hashing methods")
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("\nStopped. Finished steps are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    except pipeline.ParameterError as error:
        print(f"shc: {error}", file=sys.stderr)
        return 2
    except (ValueError, RunError, pipeline.NotebookError) as error:
        print(f"shc: {error}", file=sys.stderr)
        return 1


def command_run(options: argparse.Namespace) -> int:
    """Execute the sequence, write its report and print the run's summary."""
    from functools import partial

    say = partial(print, flush=True)
    if options.parameters:
        list_parameters()
        return 0
    run = pipeline.run_sequence(
        options.name, settings=options.settings, quick=options.quick, first=options.first, only=options.only,
        data=options.data, say=say,
    )  # fmt: skip
    from shc.report import write_report

    say(write_report(run))
    if summary := run.results().get("summary"):
        say(summary)
    return 0


def command_sweep(options: argparse.Namespace) -> int:
    """Run what is missing of a sweep, or list its cells; 1 if a cell failed."""
    from functools import partial

    from shc import sweeps

    if options.list:
        print("\n".join(sweeps.list_cells(options.file)))
        return 0
    failed = sweeps.run_sweep(
        options.file, jobs=options.jobs, scheduler=options.scheduler, table=options.table,
        say=partial(print, flush=True),
    )  # fmt: skip
    return 1 if failed else 0


def command_search(options: argparse.Namespace) -> int:
    """Print the neighbors of pictures and draw them."""
    from functools import partial

    from shc.image_search import search

    search(Run(options.run), options.image, options.k, options.index, options.out, say=partial(print, flush=True))
    return 0


def list_parameters() -> None:
    """Print every parameter with the first notebook that has it, its type, default and help."""
    seen: set[str] = {"run"}
    for notebook, parameters in pipeline.all_parameters().items():
        for p in (p for p in parameters.values() if p.name not in seen):
            seen.add(p.name)
            print(f"{notebook[:2]}  {p.name + ': ' + p.kind:<22} {p.default!r:<14} {p.help}")


def command_report(options: argparse.Namespace) -> int:
    """Write a run's pages again from its executed notebooks."""
    from shc.report import write_report

    print(write_report(Run(pipeline.run_path(options.name))))
    return 0


def command_refresh(options: argparse.Namespace) -> int:
    """Put a run's outputs into the committed notebooks."""
    from shc.refresh import refresh

    print("\n".join(refresh(Run(pipeline.run_path(options.name)))))
    return 0


def command_datasets(options: argparse.Namespace) -> int:
    """List the data sets."""
    from shc import datasets

    for name, description in datasets.available().items():
        print(f"{name:<10} {description}")
    return 0


def command_methods(options: argparse.Namespace) -> int:
    """List the hashing methods, what they need and where they come from."""
    from shc import methods

    for name, entry in methods.available().items():
        centers, labels = entry.default_centers or "none", "several labels" if entry.multi_label else ""
        print(f"{name:<11} needs {entry.needs:<16} centers {centers:<9} starts from {entry.start:<11} {entry.source}")
        values = ", ".join(f"{key}={value}" for key, value in entry.options.items())
        print(f"{'':<11} {'; '.join(part for part in (f'options {values}' if values else '', labels) if part)}")
    return 0


COMMANDS = {
    "run": command_run,
    "search": command_search,
    "sweep": command_sweep,
    "report": command_report,
    "refresh": command_refresh,
    "datasets": command_datasets,
    "methods": command_methods,
}
