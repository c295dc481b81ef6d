"""Executed notebooks: made beside their place and put there in one step, and what is told of one that did not end.

papermill writes its notebook anew after every cell. Killed in the middle of that, it would leave half a file where a
whole one may have been.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from shc.files import atomic_write


class NotebookError(RuntimeError):
    """A cell failed; the message shows its source and what went wrong, `reason` is only the latter in one line."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message, reason)
        self.reason = " ".join((reason or message).split())

    def __str__(self) -> str:
        return str(self.args[0])


def begun(target: Path) -> Path:
    """Where the notebook `target` is written while it is executed; nothing is there yet."""
    unfinished = target.with_name(f".{target.stem}.json")  # a suffix that papermill writes without a warning
    unfinished.unlink(missing_ok=True)  # of a killed execution, or a link that papermill would follow
    return unfinished


def kept(unfinished: Path, target: Path) -> Path:
    """Put a notebook, as far as it was executed, in its place; returns the place."""
    with suppress(FileNotFoundError):  # its kernel did not come up
        content = unfinished.read_bytes()
        atomic_write(target, lambda file: file.write_bytes(content))
    return target


def failed(notebook: str, error: Any, target: Path) -> NotebookError:
    """A failing cell in plain text: where, its source, and the error's last line."""
    return NotebookError(
        f"notebook {notebook}, cell {error.exec_count}, failed:\n{indented(error.source)}"
        f"{error.ename}: {error.evalue}\nThe executed notebook is {target}; earlier results are kept.",
        f"{error.ename}: {error.evalue}",
    )


def stopped(notebook: str, error: Exception, unfinished: Path, target: Path) -> NotebookError:
    """A kernel that died, or a cell that took too long: neither leaves an error in the notebook."""
    cell, source = last_begun(unfinished)
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".") + (f", in cell {cell}" if cell else "")
    return NotebookError(
        f"notebook {notebook} stopped: {reason}{' (often for memory)' if 'died' in reason else ''}.\n{source}"
        f"What was finished before is kept; repeat the command, or open {kept(unfinished, target)} to see how far it "
        "came",
        reason,
    )


def last_begun(file: Path) -> tuple[int, str]:
    """Number and source of the last code cell that papermill began; 0 and no source if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        sources = [
            "".join(cell["source"])
            for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code" and cell["source"] and cell["metadata"]["papermill"].get("start_time")
        ]
        return len(sources), indented(sources[-1]) if sources else ""
    return 0, ""


def indented(source: str) -> str:
    r"""A cell's source as it stands in a message.

    >>> indented("x = 1")
    '    x = 1\n'
    """
    return "".join(f"    {line}\n" for line in str(source).splitlines())
