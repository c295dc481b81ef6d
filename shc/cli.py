"""The command line: `shc run`, `train`, `encode`, `evaluate`, `search`, `sweep`, `report`, `verify`, and lists."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from shc import pipeline
from shc.runs import Run, RunError

# control characters, but not those of lines and of progress bars, and those that change the direction of writing
SHOWN = {
    n: f"\\x{n:02x}" if n < 256 else f"\\u{n:04x}"
    for n in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(n) not in "\t\n\r"
}


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
    run.add_argument("--root", metavar="FOLDER", help="with a real data set's files, short for --set root=…")
    run.add_argument("--preset", metavar="NAME", help="paper, paper-fast, frozen or tiny: see --parameters")
    run.add_argument("--parameters", action="store_true", help="list all parameters and presets and stop")
    sweep = commands.add_parser("sweep", help="run one notebook under many parameters, and gather one table")
    sweep.add_argument("file", metavar="FILE", help="sweep file, e.g. benchmarks/comparison.yaml")
    sweep.add_argument("--jobs", type=int, default=1, metavar="N", help="cells that run at the same time (default: 1)")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster instead, e.g. tcp://host:8786; `local`")
    sweep.add_argument("--list", action="store_true", help="list the cells and which are finished; run nothing")
    sweep.add_argument("--table", metavar="PATH", help="copy results.csv there when all cells are finished")
    add_train(commands)
    add_encode(commands)
    add_evaluate(commands)
    search = commands.add_parser("search", help="find a run's images that look like a picture of yours")
    search.add_argument("--run", default="quickstart", metavar="FOLDER", help="run folder, or its name (quickstart)")
    search.add_argument("--image", action="append", required=True, metavar="FILE", help="a picture; may be repeated")
    search.add_argument("-k", type=int, default=10, metavar="N", help="neighbors to find (default: 10)")
    search.add_argument("--index", default="memory:", metavar="URI", help="memory:FOLDER, lance:FOLDER, lance+s3://…")
    search.add_argument("--out", metavar="FILE", help="where to write the picture (default: FOLDER/figures/search.png)")
    for name, text in (
        ("report", "write a run's index.html again"),
        ("refresh", "put a run's outputs into the committed notebooks"),
    ):
        commands.add_parser(name, help=text).add_argument("--name", default="quickstart", help="run folder under runs/")
    verify = commands.add_parser("verify", help="check every file of a run, a sweep or a store of codes")
    verify.add_argument("folder", nargs="?", default="quickstart", help="run folder, or its name (quickstart)")
    add_datasets(commands)
    commands.add_parser("methods", help="list the hashing methods")
    options = parser.parse_args(arguments)
    with redirect_stdout(Plain(sys.stdout)), redirect_stderr(Plain(sys.stderr)):
        return run_command(options)


class Plain:
    """A stream that shows control characters of what is written: names of files and texts of others are printed.

    A terminal obeys them: it could be told to hide lines, or to fill the clipboard.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> Any:
        """As the stream's own."""
        return self.stream.write(text.translate(SHOWN))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def run_command(options: argparse.Namespace) -> int:
    """Run what the arguments ask for, and tell errors in one line."""
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("\nStopped. Finished steps are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again on leaving
        return 1
    except pipeline.ParameterError as error:
        print(f"shc: {error}", file=sys.stderr)
        return 2
    except (ValueError, RunError, pipeline.NotebookError, FloatingPointError) as error:
        print(f"shc: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # what the system refuses: a name that no disk takes, a folder that may not be read
        print(f"shc: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1


def add_train(commands: Any) -> None:
    """The arguments of `shc train`."""
    train = commands.add_parser("train", help="train one stage of a run, in one process or several")
    train.add_argument(
        "--run", "--name", required=True, metavar="FOLDER",
        help="run folder, e.g. runs/quickstart, or its name (after torchrun write --name: it takes --run for its own)",
    )  # fmt: skip
    train.add_argument("--stage", required=True, choices=("classifier", "hasher"), help="the network to train")
    train.add_argument("--nproc", type=int, metavar="N", help="processes on this machine (leave out under torchrun)")
    train.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    train.add_argument("--centers", default="semantic", metavar="KIND", help="that the hasher is trained towards")
    train.add_argument("--device", help="cpu, cuda or auto")


def add_encode(commands: Any) -> None:
    """The arguments of `shc encode`."""
    encode = commands.add_parser("encode", help="turn images into packed codes in shards, resumable")
    encode.add_argument("--run", required=True, metavar="FOLDER", help="run whose hasher encodes, e.g. runs/quickstart")
    what = encode.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", metavar="FOLDER", help="every picture in it and its sub-folders")
    what.add_argument("--split", metavar="NAME", help="a split of the run's data set, e.g. database")
    encode.add_argument("--out", required=True, metavar="DIR", help="folder for the shards")
    encode.add_argument("--shard", type=int, default=10_000, metavar="N", help="images per shard (default: 10000)")
    encode.add_argument("--format", default="parquet", metavar="NAME", help="parquet (default) or lance")
    encode.add_argument("--centers", default="semantic", metavar="KIND", help="that the hasher was trained towards")
    encode.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    encode.add_argument("--retry", action="store_true", help="try images again that could not be read")
    add_cluster(encode)


def add_evaluate(commands: Any) -> None:
    """The arguments of `shc evaluate`."""
    evaluate = commands.add_parser("evaluate", help="every metric between two folders that `shc encode` made")
    evaluate.add_argument("--query", required=True, metavar="DIR", help="codes that ask")
    evaluate.add_argument("--database", required=True, nargs="+", metavar="DIR", help="codes that are ranked")
    evaluate.add_argument("--k", type=int, nargs="+", default=[100, 1000], help="ranks (default: 100 1000)")
    evaluate.add_argument("--graded-k", type=int, nargs="+", default=[100, 250], help="of graded metrics (100 250)")
    evaluate.add_argument("--radius", type=int, default=2, help="of the ball, in bits (default: 2)")
    evaluate.add_argument("--convention", default="tie-aware", help="tie-aware (default) or topk")
    evaluate.add_argument("--skip-unlabelled", action="store_true", help="leave out images of unknown class")
    evaluate.add_argument("--out", metavar="FILE.json", help="write the numbers there too")
    add_cluster(evaluate)


def add_datasets(commands: Any) -> None:
    """The arguments of `shc datasets`."""
    datasets = commands.add_parser("datasets", help="list the data sets, fetch or check one")
    datasets.add_argument("name", nargs="?", metavar="NAME", help="one data set in detail")
    datasets.add_argument("--download", action="store_true", help="fetch its files from their publisher")
    datasets.add_argument("--check", action="store_true", help="load it; count classes, look for equal images")
    datasets.add_argument("--protocol", default="closed", metavar="NAME", help="its splits, for --check")
    datasets.add_argument("--root", default="", metavar="DIR", help="folder of its files (default: the user's data)")


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Where jobs run."""
    command.add_argument("--jobs", type=int, metavar="N", help="processes on this machine (default: 1)")
    command.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask cluster, e.g. tcp://host:8786; `local` makes one here"
    )


def command_run(options: argparse.Namespace) -> int:
    """Execute the sequence, write its report and print the run's summary."""
    from functools import partial

    say = partial(print, flush=True)
    if options.parameters:
        list_parameters()
        return 0
    run = pipeline.run_sequence(
        options.name, settings=options.settings, quick=options.quick, first=options.first, only=options.only,
        data=options.data, root=options.root, preset=options.preset, say=say,
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


def command_train(options: argparse.Namespace) -> int:
    """Train one stage of a run."""
    from shc.train_job import train

    told = train(
        run_folder(options.run), options.stage, nproc=options.nproc, settings=options.settings, device=options.device,
        kind=options.centers,
    )  # fmt: skip
    if told:
        print(told)
    return 0


def command_encode(options: argparse.Namespace) -> int:
    """Encode images into a store."""
    from functools import partial

    from shc.encode import encode

    encode(
        run_folder(options.run), options.out, images=options.images, split=options.split, kind=options.centers,
        shard=options.shard, format=options.format, device=options.device, jobs=options.jobs,
        scheduler=options.scheduler, retry=options.retry, say=partial(print, flush=True),
    )  # fmt: skip
    return 0


def command_evaluate(options: argparse.Namespace) -> int:
    """Print, and write, the metrics between two stores."""
    from shc.store_evaluation import evaluate_stores, write_scores

    if options.out and (Path(options.out).is_dir() or not Path(options.out).resolve().parent.is_dir()):
        raise pipeline.ParameterError(f"--out {options.out}: give a file in a folder that exists, e.g. scores.json")
    scores = evaluate_stores(
        options.query, *options.database, k=options.k, graded_k=options.graded_k, radius=options.radius,
        convention=options.convention, skip_unlabelled=options.skip_unlabelled, jobs=options.jobs,
        scheduler=options.scheduler,
    )  # fmt: skip
    for name, value in scores.items():
        print(f"{name:<26}{value:.6f}" if isinstance(value, float) else f"{name:<26}{value}")
    if options.out:
        write_scores(scores, options.out, options.query, options.database)
    return 0


def run_folder(given: str) -> Path:
    """A run's folder from its path, or from its name under runs/."""
    path = Path(given)
    return path if path.exists() or len(path.parts) != 1 else pipeline.run_path(given)


def command_search(options: argparse.Namespace) -> int:
    """Print the neighbors of pictures and draw them."""
    from functools import partial

    from shc.image_search import search

    search(
        Run(run_folder(options.run)),
        options.image,
        options.k,
        options.index,
        options.out,
        say=partial(print, flush=True),
    )
    return 0


def list_parameters() -> None:
    """Print every parameter with the first notebook that has it, its type, default and help; then the presets."""
    from shc.presets import PRESETS

    seen: set[str] = {"run"}
    for notebook, parameters in pipeline.all_parameters().items():
        for p in (p for p in parameters.values() if p.name not in seen):
            seen.add(p.name)
            print(f"{notebook[:2]}  {p.name + ': ' + p.kind:<26} {p.default!r:<14} {p.help}")
    for name, preset in PRESETS.items():
        told = [f"{k}={v}" for k, v in preset.values.items()]
        told += [f"on {data}: {', '.join(f'{k}={v}' for k, v in own.items())}" for data, own in preset.of_data.items()]
        print(f"\n--preset {name:<11} {preset.help}\n    {', '.join(told)}")


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
    """List the data sets, or show, fetch or check one."""
    from shc import datasets
    from shc.datasets import overview, sources

    name = options.name
    if name is None:
        if options.download or options.check or options.root or options.protocol != "closed":
            raise pipeline.ParameterError("say which data set, e.g. `shc datasets cifar10 --download`")
        print("\n".join(overview.table()))
        return 0
    try:
        datasets.check(name, protocol=options.protocol)
    except ValueError as error:
        raise pipeline.ParameterError(str(error)) from error
    if options.download:
        about = datasets.entries()[name].about
        folder = sources.located(name, about.files, options.root, about.elsewhere)
        if not sources.lacking(about.files, folder):
            where = f"in {folder}" if about.files else overview.state(name, about)
            print(f"nothing to fetch: {name} is {where}")
        sources.download(about.files, folder)
    if options.check:
        for line in overview.check(name, options.root, options.protocol):
            print(line, flush=True)
    if not options.download and not options.check:
        print("\n".join(overview.details(name, options.root)))
    return 0


def command_verify(options: argparse.Namespace) -> int:
    """Print a line per file; 1 if anything is wrong. Nothing is changed."""
    from shc.verify import verify

    wrong, total = 0, 0
    for finding in verify(run_folder(options.folder)):
        wrong, total = wrong + (not finding.good), total + 1
        print(finding, flush=True)
    print(f"{total} files, {wrong} wrong" if wrong else f"{total} files, all as they should be")
    return 1 if wrong else 0


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
    "train": command_train,
    "encode": command_encode,
    "evaluate": command_evaluate,
    "search": command_search,
    "sweep": command_sweep,
    "report": command_report,
    "refresh": command_refresh,
    "verify": command_verify,
    "datasets": command_datasets,
    "methods": command_methods,
}
