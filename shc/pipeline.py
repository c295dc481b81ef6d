"""Run the notebooks headless, each from the artifacts of the ones before; the only module that knows papermill.

Parameters are checked (`shc.parameters`) before a kernel starts. A notebook is skipped when its source, its parameters,
the package's code that it uses and the notebooks before it are those of its last finished execution in the run folder.
"""

import ast
import hashlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from shc.executed import NotebookError as NotebookError
from shc.executed import begun, failed, kept, stopped
from shc.files import read_notebook as read_notebook  # others look for it here
from shc.files import unwritable
from shc.locks import handed_on
from shc.parameters import Parameter, ParameterError, check_values, parameters_of, parse_settings, parsed
from shc.presets import preset_values
from shc.runs import Run, RunError, atomic_write, library_versions, read_json, today

SEQUENCE = (
    "00_tour", "01_classifier", "02_class_similarity", "03_hash_centers", "04_hashing_network", "05_retrieval",
    "06_center_structure", "07_compare_methods", "08_your_own_images", "solutions",
)  # fmt: skip
MAKES = {
    "01_classifier": ("classifier", "statistics"),
    "02_class_similarity": ("similarity",),
    "03_hash_centers": ("centers", "centers-random"),
    "04_hashing_network": ("hasher", "codes", "hasher-random", "codes-random"),
}
OWN_DATA = ("08_your_own_images",)  # work on other images than the run's, so they may be asked for other ones
# smaller data and shorter training: numbers are worse, every step is real
QUICK: dict[str, Any] = {"scale": 0.2, "epochs": 16, "hasher_epochs": 6}
PLACES = ("root", "embeddings")  # parameters that name a folder or file of the user's
LONGEST_NAME = 200  # bytes of a run's name; disks take 255
CELL_TIMEOUT = 3600  # seconds; a cell that takes longer is stopped
# Said to kernels only, and where the user says nothing. glibc shall keep what was freed: giving memory back and taking
# it again in every step can cost as much as the computing.
KERNEL = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait sleep
}


def notebooks_folder() -> Path:
    """The folder of the sequence: `notebooks` here, or beside the installed package's source."""
    for folder in (Path("notebooks"), Path(__file__).resolve().parent.parent / "notebooks"):
        if (folder / f"{SEQUENCE[0]}.ipynb").exists() and not is_of_run(folder):
            return folder.resolve()
    raise RunError(
        "the notebooks were not found; run this command in the project's folder (the one that contains notebooks/)"
    )


def is_of_run(folder: Path) -> bool:
    """Whether notebooks lie in a run folder: executed ones, maybe somebody else's, that nobody meant to execute."""
    return any((folder / name).exists() for name in ("stamps.json", ".writable", "../params.yaml", "../results.json"))


def runs_folder() -> Path:
    """Where runs are kept: $SHC_RUNS, else `runs` beside `notebooks`."""
    return Path(os.environ.get("SHC_RUNS") or notebooks_folder().parent / "runs")


def run_path(name: str) -> Path:
    """Folder of the run called `name`; ParameterError for a name that would leave the runs folder."""
    if not name or name.startswith(".") or any(not (c.isalnum() or c in "-_.") for c in name):
        raise ParameterError(f"run name {name!r}: use letters, digits, '-', '_' and '.', and do not begin with '.'")
    if len(name.encode()) > LONGEST_NAME:
        raise ParameterError(f"run name {name!r} has {len(name.encode())} bytes; give one of at most {LONGEST_NAME}")
    return runs_folder() / name


def all_parameters(names: Sequence[str] = SEQUENCE) -> dict[str, dict[str, Parameter]]:
    """The parameters of every notebook of the sequence."""
    folder, found = notebooks_folder(), {}
    for name in names:
        try:
            found[name] = parameters_of(read_notebook(folder / f"{name}.ipynb"))
        except RunError as error:
            raise RunError(f"notebook {name}: {error}") from error
    return found


# ------------------------------------------------------------------------------------------ stamps


def source_hash(notebook: Mapping[str, Any]) -> str:
    """Hash of what a notebook says (cell types and sources), and of the package's code that it uses."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    code = "\n".join(source for kind, source in cells if kind == "code")
    text = json.dumps([cells, code_hash(modules_used(code))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def modules_used(code: str) -> set[Path]:
    """Files of the package that `code` imports or names as `shc.module`, and those that they import in turn."""
    package = Path(__file__).parent
    seen: set[Path] = set()
    waiting = [code]
    while waiting:
        for name in _names_used(waiting.pop()) - {"shc"}:
            inside = package.joinpath(*name.split(".")[1:])
            files = [inside.with_suffix(".py")] if inside.with_suffix(".py").exists() else inside.glob("*.py")
            new = set(files) - seen
            seen |= new
            waiting += [file.read_text(encoding="utf-8") for file in new]
    return seen


def files_read(known: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files that a notebook's parameters name: with another content, it is executed again."""
    given = {name: values.get(name, parameter.default) for name, parameter in known.items() if parameter.kind == "str"}
    named = {name: notebooks_folder() / value for name, value in given.items() if value}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for name, file in named.items() if file.is_file()}


def data_read(known: Mapping[str, Parameter], values: Mapping[str, Any], state: Callable[..., str]) -> dict[str, str]:
    """State (`survey.files_state`) of the data set that a notebook loads, if it lies in files: with another, again.

    A notebook that has `root` and no `data` reads a folder of pictures if it is given one.
    """
    root = values.get("root", "")
    if "root" not in known or not ("data" in known or root):
        return {}
    told = state(values.get("data", known["data"].default) if "data" in known else "image_folder", root)
    return {"root": told} if told else {}


def code_hash(files: set[Path]) -> str:
    """Hash of the files' code without comments, docstrings and layout, so that only changes of behaviour count."""
    parts = [f"{file.name} {_bare_hash(file.read_text(encoding='utf-8'))}" for file in sorted(files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _names_used(code: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "shc":
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "shc"}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "shc":
            names.add(f"shc.{node.attr}")
    return frozenset(names)


@cache
def _bare_hash(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(_skeleton(tree).encode()).hexdigest()


def _skeleton(node: Any) -> str:
    """The tree as text, the same in every version of Python (`ast.dump` is not: it lists new and empty fields)."""
    if isinstance(node, list):
        return f"[{', '.join(map(_skeleton, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty strings
        return f"f{_skeleton([part for part in node.values if getattr(part, 'value', None) != ''])}"
    fields = (
        f"{name}={_skeleton(value)}" for name, value in ast.iter_fields(node) if value is not None and value != []
    )
    return f"{type(node).__name__}({', '.join(fields)})"


# ------------------------------------------------------------------------------------------ running


def run_sequence(
    name: str = "quickstart",
    *,
    settings: Sequence[str] = (),
    quick: bool = False,
    first: str | None = None,
    only: str | None = None,
    data: str | None = None,
    root: str | None = None,
    preset: str | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Execute the sequence (or a part of it) for the run called `name`, and write its report.

    `preset` (`shc.presets`) and `quick` set parameters; `settings`, `data` and `root` overrule them. `first` and `only`
    take a notebook's number or name; what they select is executed even if nothing changed. `say` gets a line per
    notebook: name, seconds, key number.
    """
    from shc.datasets.survey import files_state

    known = all_parameters()
    given = parse_settings(settings, known) | {k: v for k, v in (("data", data), ("root", root)) if v}
    for name_of_file in PLACES:  # as seen from here: the kernels run in another folder
        if given.get(name_of_file):
            given[name_of_file] = str(Path(given[name_of_file]).expanduser().resolve())
    values = dict(QUICK) if quick else {}
    values |= (preset_values(preset, given.get("data", "")) if preset else {}) | given
    chosen = select(first, only)
    check_values(values)
    run = Run(run_path(name))
    stored = run.parameters().get("data", {})
    if chosen[0] > "01_classifier" and not set(chosen) <= set(OWN_DATA):
        clash = {k: values[k] for k in set(values) & set(stored) if stored[k] != values[k]}
        if clash:
            told = ", ".join(f"{k}={stored[k]!r} (asked: {v!r})" for k, v in clash.items())
            raise ParameterError(f"run {name!r} was made with {told}; choose another --name, or begin at 01 again")
    with run.alone():
        before, state = "", cache(files_state)  # of the files as they are now, before anything is executed
        for notebook in SEQUENCE:
            mine = {k: v for k, v in values.items() if k in known[notebook]}
            source = read_notebook(notebooks_folder() / f"{notebook}.ipynb")
            read = files_read(known[notebook], mine) | data_read(known[notebook], values, state)
            identity = json.dumps([source_hash(source), mine, before, *([read] if read else [])], sort_keys=True)
            stamp = hashlib.sha256(identity.encode()).hexdigest()[:16]
            before = stamp if notebook in MAKES else before
            if notebook not in chosen:
                continue
            if not (first or only) and finished(run, notebook, stamp):
                say(f"{notebook:<22} unchanged  {headline(run, notebook)}")
                continue
            started = time.perf_counter()
            execute(run, notebook, mine)
            seconds = time.perf_counter() - started
            # an execution that finds its artifacts made is shorter: the one that made them counts
            longest = run.results().get("seconds", {})
            run.add_results(seconds=longest | {notebook: round(max(seconds, longest.get(notebook, 0)), 1)})
            stamps = read_json(run.path / "notebooks" / "stamps.json") | {notebook: stamp}
            atomic_write(run.path / "notebooks" / "stamps.json", lambda f, s=stamps: f.write_text(json.dumps(s)))  # type: ignore[misc]
            say(f"{notebook:<22} {seconds:7.1f} s  {headline(run, notebook)}")
        run.add_results(made_with=made_with(run))
    return run


def made_with(run: Run) -> dict[str, str]:
    """Device, versions, date and minutes of a run, for its report."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    minutes = sum(run.results().get("seconds", {}).values()) / 60
    return {"device": device, "date": today(), "minutes": f"{minutes:.1f}", **library_versions()}


def select(first: str | None, only: str | None) -> tuple[str, ...]:
    """The notebooks that --from and --only name."""
    for option, number in (("--from", first), ("--only", only)):
        if number is not None and not any(_named(n, number) for n in SEQUENCE):
            raise ParameterError(f"{option} {number} names no notebook; they are {', '.join(SEQUENCE)}")
    if first and only:
        raise ParameterError("--from and --only exclude each other; give one of them")
    wanted = first or only
    if wanted is None:
        return SEQUENCE
    at = next(i for i, n in enumerate(SEQUENCE) if _named(n, wanted))
    return SEQUENCE[at : at + 1] if only else SEQUENCE[at:]


def _named(notebook: str, number: str) -> bool:
    """Whether a notebook has this name, or begins with this number."""
    return number != "" and (notebook == number or notebook.split("_")[0] == number.zfill(2))


def finished(run: Run, notebook: str, stamp: str) -> bool:
    """Whether this notebook's last execution in the run still stands, its artifacts included."""
    if read_json(run.path / "notebooks" / "stamps.json").get(notebook) != stamp:
        return False
    files = [run.file(*made.split("-")) for made in MAKES.get(notebook, ())]
    return all(file.exists() for file in [*files, run.path / "notebooks" / f"{notebook}.ipynb"])


def headline(run: Run, notebook: str) -> str:
    """The key number that a notebook left in results.json."""
    return run.results().get("headlines", {}).get(notebook, "")


def execute(run: Run, notebook: str, values: Mapping[str, Any]) -> Path:
    """Execute one notebook of the sequence into the run folder and return the executed file; see `execute_file`."""
    return execute_file(notebooks_folder() / f"{notebook}.ipynb", run, values)


def execute_file(
    source: Path, run: Run, values: Mapping[str, Any], *, environment: Mapping[str, str] | None = None, tag: str = ""
) -> Path:
    """Execute a notebook with papermill, in its own folder, into the run folder and return the executed file.

    Values that the notebook has no parameter for are not passed. `environment` replaces the kernel's, `tag` names it
    for `stop_kernels`. Raises NotebookError with the failing cell's source and the error, RunError if papermill is not
    installed.
    """
    papermill = import_papermill()
    notebook, target = source.stem, run.path / "notebooks" / source.name
    atomic_write(run.path / "notebooks" / ".writable", lambda f: f.write_text(""))  # a read-only folder fails here
    unfinished = begun(target)
    parameters = {"run": os.path.relpath(run.path, source.parent), "live": False, **values}
    known = parameters_of(read_notebook(source))
    try:
        papermill.execute_notebook(
            str(source), str(unfinished), {k: v for k, v in parameters.items() if k in known},
            kernel_name="python3", cwd=str(source.parent), progress_bar=False, execution_timeout=CELL_TIMEOUT,
            extra_arguments=["--IPKernelApp.log_level=50"],  # not the kernel's own log: failures are told below
            kernel_manager_class=kernel_manager(environment, (tag, target)),
        )  # fmt: skip
        return kept(unfinished, target)
    except papermill.exceptions.PapermillExecutionError as error:
        raise failed(notebook, error, kept(unfinished, target)) from None
    except (RuntimeError, TimeoutError) as error:  # nbclient: dead kernel, time-out (an OSError, hence first)
        raise stopped(notebook, error, unfinished, target) from error
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
        _kernels.pop((tag, target), None)


def import_papermill() -> ModuleType:
    """papermill; RunError naming the extra that brings it."""
    require_papermill()
    import papermill.exceptions

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it would log to the terminal is told below
    return papermill


def require_papermill() -> None:
    """Raise RunError if papermill is not installed; importing it would take a second or two."""
    if find_spec("papermill") is None:
        raise RunError("running notebooks needs the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'")


_kernels: dict[tuple[str, Path], int] = {}  # process of each kernel that runs now, by tag and executed notebook
_stopped: set[str] = set()


def kernel_manager(environment: Mapping[str, str] | None, noted: tuple[str, Path]) -> type:
    """Class that starts a kernel with this environment, and notes its process."""
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            if noted[0] in _stopped:
                raise RuntimeError("it was stopped before it began")
            given, held = dict(os.environ if environment is None else environment), handed_on()
            await super().start_kernel(**options, env=KERNEL | given | held["env"], pass_fds=held["pass_fds"])
            _kernels[noted] = self.provisioner.pid  # type: ignore[attr-defined, union-attr]

    return Manager


def stop_kernels(tag: str) -> None:
    """Kill the kernels that were started with `tag` in this process, and start no more of them."""
    _stopped.add(tag)
    for (name, _), process in list(_kernels.items()):
        if name == tag:
            with suppress(OSError):
                os.killpg(process, signal.SIGKILL)  # a kernel leads its own group: what it started ends as well


def was_stopped(tag: str) -> bool:
    """Whether `stop_kernels` was called for this tag."""
    return tag in _stopped
