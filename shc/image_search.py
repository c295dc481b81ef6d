"""From pictures to their neighbors in a run: what `shc search` does.

The run's hasher encodes the pictures, prepared as the data set's images are, and its database codes are searched: in
memory, or in an index that lasts, which is filled from the run where it is empty and bound to the run's hasher.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from shc import label_sets, stages
from shc.datasets import ImageSet
from shc.datasets.image_folder import files_of
from shc.datasets.sources import data_root
from shc.figures import Figure
from shc.image_files import BrokenImage, read_image
from shc.models import codes_from
from shc.pictures import retrieval_strips
from shc.runs import Run, RunError, atomic_write
from shc.search import HammingIndex, Neighbors, SearchError, whole
from shc.training import predict

FORMATS = (".png", ".pdf", ".svg")
SHOWN = 12  # neighbors in the picture; more would make it wider than a screen


def search(
    run: Run,
    files: Sequence[str | Path],
    k: int = 10,
    uri: str = "memory:",
    out: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Neighbors:
    """Tell the `k` nearest database images of every picture file, draw them into `out`, and return them.

    `out` ends in .png, .pdf or .svg; by default it is figures/search.png of the run. Raises SearchError for a file that
    holds no picture and for an index of another hasher, RunError for a run that has no hasher yet.
    """
    target = run.path / "figures" / "search.png" if out is None else Path(out)
    if target.suffix.lower() not in FORMATS or target.is_dir():
        raise SearchError(f"the picture cannot be written to {target}; give a file that ends in {', '.join(FORMATS)}")
    whole("k", k, 1)
    images = stages.images_of(run)
    queries = read_images(files, images.images.shape[-1])
    index = index_of(run, images, uri, say)
    codes = codes_from(predict(stages.load_hasher(run, images), queries))
    found = index.search(codes, k=k)
    classes = found_classes(images, found)
    for q, file in enumerate(files):
        say("\n".join([f"{'' if q == 0 else chr(10)}{file}", *table(found, q, classes[q])]))
    figure = draw(images, queries.numpy(), [Path(file).stem for file in files], found)
    try:
        with run.alone() if out is None else nullcontext():
            atomic_write(target, lambda f: figure.savefig(f, format=target.suffix[1:].lower()))
    except RunError as error:
        why = str(error).partition(";")[0]
        raise SearchError(f"the picture was not drawn: {why}; write it elsewhere with --out") from error
    shown = f", the first {SHOWN} neighbors of each" if found.ids.shape[1] > SHOWN else ""
    say(f"picture: {target}{shown}")
    return found


def read_images(files: Sequence[str | Path], size: int) -> torch.Tensor:
    """uint8 [N, 3, size, size] of picture files; SearchError names the first that cannot be read."""
    pictures = []
    for file in files:
        try:
            pictures.append(read_image(file, size))
        except BrokenImage as error:
            raise SearchError(f"{file} is no picture that can be read ({error}); give a PNG or JPEG file") from error
    return torch.from_numpy(np.stack(pictures))


def index_of(run: Run, images: ImageSet, uri: str, say: Callable[[str], None]) -> HammingIndex:
    """The index at `uri`, filled with the run's database codes if it is empty."""
    hasher, codes = run.load("hasher", fingerprint=images.fingerprint).key, stages.load_codes(run, images)["database"]
    index = HammingIndex.open(uri, bits=codes.shape[1], fingerprint=hasher)
    if not index.count():
        labels = images.split("database")[1]  # an index holds one class per image, no label sets
        paths = database_files(run, images)
        index.add(codes, ids=np.arange(len(codes)), labels=labels if labels.ndim == 1 else None, paths=paths)
        if uri != "memory:":
            index.save()
            say(f"filled {uri} with the {len(codes):,} database codes of {run.path}")
    return index


def database_files(run: Run, images: ImageSet) -> list[str] | None:
    """Where each database image lies, if they are the user's own files; None for other data sets."""
    if images.name != "image_folder":
        return None
    root = data_root(images.name, run.parameters()["data"].get("root", ""))
    files = files_of(images, root)
    return [str(root / files[row]) for row in images.splits["database"].tolist()]


def table(found: Neighbors, query: int, names: Sequence[str]) -> list[str]:
    """One query's neighbors as lines: rank, distance in bits, class (from `names`), path or id."""
    wide = max(len("class"), *map(len, names))
    lines = [f"rank  bits  {'class':<{wide}}  {'path' if any(found.paths[query]) else 'id'}"]
    for j, name in enumerate(names):
        place = found.paths[query, j] or found.ids[query, j]
        lines.append(f"{j + 1:>4}  {found.distances[query, j]:>4}  {name:<{wide}}  {place}")
    return lines


def found_classes(images: ImageSet, found: Neighbors) -> list[list[str]]:
    """The names of every neighbor's class; of database images with several labels those of all, by their ids."""
    told = [[class_name(label, images.class_names) for label in row] for row in found.labels]
    labels = images.split("database")[1]
    if labels.ndim == 2:
        for (q, j), identity in np.ndenumerate(found.ids):
            if not found.paths[q, j] and 0 <= identity < len(labels):
                told[q][j] = str(label_sets.names(labels[[identity]], images.class_names)[0])
    return told


def class_name(label: int, class_names: Sequence[str]) -> str:
    """The name of a class, or what an unknown one is called."""
    return class_names[label] if 0 <= label < len(class_names) else "unknown"


def draw(images: ImageSet, queries: np.ndarray, names: Sequence[str], found: Neighbors) -> Figure:
    """Queries uint8 [Q, 3, S, S] in rows with their neighbors: database images by id, others from their path."""
    database, size = images.split("database")[0], queries.shape[-1]
    blank = np.full((3, size, size), 235, dtype=np.uint8)

    def thumbnail(identity: int, path: str) -> np.ndarray:
        if path:
            try:
                return read_image(path, size)
            except BrokenImage:  # it may have been moved since; its row in the table still says where it was
                return blank
        return database[identity].numpy() if 0 <= identity < len(database) else blank

    ids, paths = found.ids[:, :SHOWN], found.paths[:, :SHOWN]
    pictures = [[thumbnail(int(i), path) for i, path in zip(*row, strict=True)] for row in zip(ids, paths, strict=True)]
    classes = [row[:SHOWN] for row in found_classes(images, found)]
    distances = found.distances[:, :SHOWN]
    return retrieval_strips(queries, np.array(pictures), distances, None, names, classes, "Nearest neighbors")
