"""The code cells of a notebook, run in this process: for runs that would be too many for kernels of their own."""

import contextlib
import io

from shc import pipeline


def run_cells(name, **values):
    """What the cells of a notebook print, with these parameters; pictures are drawn, and not shown."""
    notebook = pipeline.read_notebook(pipeline.notebooks_folder() / f"{name}.ipynb")
    scope, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), scope)
            if "parameters" in cell["metadata"].get("tags", []):
                scope |= {"live": False, "device": "cpu"} | values
    return printed.getvalue()
