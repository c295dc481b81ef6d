"""Small notebooks in the real sequence's names, for the tests of the runner, the report and the refresher."""

import json
from zlib import crc32

from shc.pipeline import SEQUENCE

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="  # one pixel
PARAMETERS = 'run: str = "../runs/quickstart"  # run folder\nseed: int = 0  # of everything'


def markdown(source):
    return {"cell_type": "markdown", "id": f"m{crc32(str(source).encode())}", "metadata": {}, "source": source}


def code(source, *outputs, tags=(), count=None):
    metadata = {"tags": list(tags)} if tags else {}
    cell = {"cell_type": "code", "metadata": metadata, "source": source}
    return cell | {"id": f"c{crc32(str(source).encode())}", "execution_count": count, "outputs": list(outputs)}


def parameters(source=PARAMETERS):
    return code(source, tags=["parameters"])


def notebook(*cells, **metadata):
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, **metadata},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def picture(alt=None, kind="display_data"):
    metadata = {"image/png": {"alt": alt}} if alt else {}
    output = {"output_type": kind, "data": {"image/png": PNG, "text/plain": "<Figure>"}, "metadata": metadata}
    return output | ({"execution_count": 9} if kind == "execute_result" else {})


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write_sequence(folder, **cells_of):
    """All notebooks of the sequence under folder/notebooks: a parameters cell, then `x = 1` or the given cells."""
    for name in SEQUENCE:
        cells = cells_of.get(f"n{name}", cells_of.get(name, [code("x = 1")]))
        write(folder / "notebooks" / f"{name}.ipynb", notebook(parameters(), *cells))
    return folder / "notebooks"
