"""The retrieval explorer: a sheet of queries, the neighbors of one of them, and its code, whose bits can be toggled.

All that is told is computed here, exactly, by a `HammingIndex`; the front end (explorer.js and explorer.css beside this
file) only shows and asks. It asks for two things, as often as it likes: `sheet`, one page of queries, and `find`, one
page of a code's neighbors. Only the images of those pages are decoded, compressed and sent, however many there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import label_sets, plots
from shc.asking import PAGE, Asking, counted, front_end, thumbnails, within
from shc.datasets.sources import MissingData
from shc.figures import Figure
from shc.hamming import as_codes
from shc.histograms import to_numpy
from shc.runs import Run, RunError
from shc.search import HammingIndex, whole

if TYPE_CHECKING:
    from shc.datasets import ImageSet

MOST_VALUES = 50  # values of a fact that can be chosen from, as the style of a drawing; more make no useful list
CLASS, GROUP = "class", "super-class"


@dataclass(frozen=True, eq=False)
class Part:
    """Images that ask, or that are searched, most often a split.

    `images` uint8 [n, 3, S, S], a tensor, an array or `FileImages`; `codes` ±1 [n, K]; `labels` class ids int64 [n] or
    label sets bool [n, C]; `facts` int64 [n] by name, what images can be chosen by beside their class.
    """

    images: Any
    codes: np.ndarray
    labels: Any
    facts: Mapping[str, Any] = field(default_factory=dict)


class RetrievalExplorer(Asking):
    """Click a query and see its neighbors; toggle bits of its code, choose a radius, filter the queries.

    `asking` holds the queries by the name of their split, `database` what is searched; `class_names` and `groups`
    (super-class, int64 [C]) go by class id, `group_names` and `fact_names[fact]` name the values that are offered as
    filters. `neighbors` is k, `query` the one of the first split that is shown at the beginning, by default the first
    of the sheet, which is mixed. A picture stands where widgets do not work. ValueError if numbers do not match.

    >>> codes = np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]])
    >>> part = Part(np.zeros((3, 3, 8, 8), np.uint8), codes, np.array([0, 0, 1]))
    >>> found = RetrievalExplorer({"query": part}, part, ["cat", "car"], np.array([0, 1])).find("query", 0)
    >>> [(n["row"], n["bits"], n["relation"]) for n in found["neighbors"]]
    [(0, 0, 2), (1, 1, 2), (2, 3, 0)]
    """

    _esm, _css = front_end("explorer")
    questions = ("sheet", "find")

    def __init__(
        self,
        asking: Mapping[str, Part],
        database: Part,
        class_names: Sequence[str],
        groups: np.ndarray,
        neighbors: int = 10,
        *,
        group_names: Sequence[str] = (),
        fact_names: Mapping[str, Sequence[str]] | None = None,
        query: int | None = None,
    ) -> None:
        if not asking:
            raise ValueError("no images ask; pass a Part of queries, for instance {'query': Part(x, codes, y)}")
        self.class_names, self.groups = np.asarray(class_names), np.asarray(groups)
        self.neighbors = whole("neighbors", neighbors, 1)
        self.names = {name: list(names) for name, names in (fact_names or {}).items()}  # of every filter's values
        self.names |= ({GROUP: list(group_names)} if len(group_names) else {}) | {CLASS: list(class_names)}
        self.database = _checked("database", database)
        bits = self.database.codes.shape[1]
        self.asking = {name: _checked(name, part, bits) for name, part in asking.items()}
        self.index = HammingIndex.open("memory:")
        self.index.add(self.database.codes)  # ids are rows
        self.values = {name: self._values(part) for name, part in self.asking.items()}
        # splits are often sorted by class, and a page should show many
        self.order = {n: np.random.default_rng(0).permutation(len(part.codes)) for n, part in self.asking.items()}
        split = next(iter(self.asking))
        found = self.find(split, int(self.order[split][0]) if query is None else query)
        page = int(np.argmax(self.order[split] == found["query"])) // PAGE
        about = dict(bits=bits, neighbors=self.neighbors, splits=list(self.asking), filters=list(self.names))
        super().__init__(first=about | dict(sheet=self.sheet(split, page=page), found=found))
        self.on_msg(self.asked)

    @classmethod
    def of_run(
        cls, run: Run, images: "ImageSet | None" = None, kind: str = "semantic", **options: Any
    ) -> "RetrievalExplorer":
        """An explorer of what a run's hasher for `kind` made; `images` are the run's, `options` neighbors and query.

        Every split asks whose images are not searched themselves. What is missing, and which notebook makes it, is told
        in the widget; only `static` raises RunError.
        """
        from shc import stages

        try:
            images = images or stages.images_of(run)
            codes = stages.load_codes(run, images, kind)
        except (RunError, MissingData) as error:
            return cls.failed(str(error))
        tree, searched = images.hierarchy, images.splits["database"]
        names = {name: names for name, names in images.group_names.items() if len(names) <= MOST_VALUES}
        parts = {
            split: Part(x, codes[split], y, {name: images.groups[name][images.splits[split]] for name in names})
            for split, (x, y) in ((split, images.split(split)) for split in images.splits)
        }
        apart = [s for s, rows in images.splits.items() if len(rows) and not np.isin(rows, searched).any()]
        asking = {split: parts[split] for split in sorted(apart, key=lambda split: split != "query")}
        groups = tree.group_ids() if tree else np.arange(len(images.class_names))
        options |= dict(group_names=tree.group_names() if tree else (), fact_names=names)
        return cls(asking, parts["database"], images.class_names, groups, **options)

    # -------------------------------------------------------------------------------------- what can be asked

    def sheet(self, split: str, chosen: Mapping[str, int] | None = None, page: int = 0) -> dict[str, Any]:
        """One page of the queries of a split that have the `chosen` values: their rows, names and thumbnails.

        `filters` tells what can be chosen, with numbers of images, each under the choices before it; a chosen value
        that none of those images has is dropped.
        """
        part = self._part(split)
        rows, filters = self.order[split], []
        for name, values in self.values[split].items():
            counts = values[rows].sum(0) if values.ndim == 2 else np.bincount(values[rows][values[rows] >= 0])
            options = [(int(v), self.names[name][v], int(counts[v])) for v in np.flatnonzero(counts)]
            value = (chosen or {}).get(name, -1)
            value = value if value in [option[0] for option in options] else -1
            rows = rows if value < 0 else rows[label_sets.holds(values[rows], value)]
            filters.append(dict(name=name, options=options, value=value))
        page, pages = within(page, len(rows))
        shown = rows[page * PAGE : (page + 1) * PAGE]
        names = label_sets.names(part.labels[shown], self.class_names).tolist()
        items = zip(shown.tolist(), names, thumbnails(part.images[shown]), strict=True)
        queries = [dict(row=row, name=name, src=src) for row, name, src in items]
        return dict(split=split, filters=filters, total=len(rows), page=page, pages=pages, queries=queries)

    def find(
        self, split: str, query: int, code: Any = None, radius: int | None = None, page: int = 0
    ) -> dict[str, Any]:
        """The nearest images of a query, or all within `radius` bits; `code` stands for its own if it is given.

        A code is ±1 [K] or a text of + and -. One page of neighbors with row, distance in bits, relation (2 same class,
        1 same super-class, 0 other), name, thumbnail and code, a text; `total` counts all, `told` is a sentence.
        """
        part = self._part(split)
        query = whole("query", query, 0, len(part.codes) - 1)
        own = part.codes[[query]]
        code = own if code is None else as_codes(_bits(code)[None])
        if radius is None:
            nearest = self.index.search(code, k=self.neighbors)
            ids, distances = nearest.ids[0], nearest.distances[0]
        else:
            ball = self.index.search(code, radius=radius)
            ids, distances = ball.ids, ball.distances
        mine, theirs = part.labels[[query]], self.database.labels[ids]
        relations = label_sets.relation(mine, theirs[None], self.groups)[0]
        page, pages = within(page, len(ids))
        shown = slice(page * PAGE, (page + 1) * PAGE)
        columns = dict(
            row=ids[shown].tolist(), bits=distances[shown].tolist(), relation=relations[shown].tolist(),
            name=label_sets.names(theirs[shown], self.class_names).tolist(),
            src=thumbnails(self.database.images[ids[shown]]), code=_signs(self.database.codes[ids[shown]]),
        )  # fmt: skip
        neighbors = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        name = str(label_sets.names(mine, self.class_names)[0])
        told = f"{split} {query}: {name}; " + _told(distances, relations, radius, mine.ndim == 1)
        self.shown = split, query
        return dict(
            split=split, query=query, name=name, src=thumbnails(part.images[[query]])[0], own=_signs(own)[0],
            code=_signs(code)[0], radius=radius, total=len(ids), page=page, pages=pages, told=told, neighbors=neighbors,
        )  # fmt: skip

    def drawn(self, queries: int = 4) -> Figure:
        """Strips of a few queries of the sheet, from the one that is shown."""
        split, query = self.shown
        part, order = self.asking[split], self.order[split]
        rows = order[np.argmax(order == query) :][:queries]
        found = self.index.search(part.codes[rows], k=self.neighbors)
        mine, theirs = part.labels[rows], self.database.labels[found.ids]
        relations = label_sets.relation(mine, theirs, self.groups)
        names, neighbors = (label_sets.names(labels, self.class_names) for labels in (mine, theirs))
        images = part.images[rows], self.database.images[found.ids]
        return plots.retrieval_strips(*images, found.distances, relations, list(names), neighbors)

    def _part(self, split: str) -> Part:
        if split not in self.asking:
            raise ValueError(f"no split {split!r} asks; choose {' or '.join(self.asking)}")
        return self.asking[split]

    def _values(self, part: Part) -> dict[str, np.ndarray]:
        """What queries can be chosen by: values int64 [n], or bool [n, V] where one may have several."""
        found = {name: to_numpy(part.facts[name]) for name in self.names if name in part.facts}
        if GROUP in self.names:
            single = part.labels.ndim == 1
            member = self.groups[:, None] == np.arange(len(self.names[GROUP]))  # (C, G)
            found[GROUP] = np.where(part.labels < 0, -1, self.groups[part.labels]) if single else part.labels @ member
        return found | {CLASS: part.labels}


def _checked(told: str, part: Part, bits: int | None = None) -> Part:
    """The part with arrays of codes and labels; ValueError unless each image has one of both, and one exists."""
    counts = len(part.images), len(part.codes), len(part.labels)
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            f"{told}: {counts[0]} images, {counts[1]} codes, {counts[2]} labels; pass one code and one label for every "
            "image, and at least one image"
        )
    codes = as_codes(to_numpy(part.codes))
    if bits not in (None, codes.shape[1]):
        raise ValueError(f"{told}: codes of {codes.shape[1]} bits, the database has {bits}; use one hasher for both")
    return Part(part.images, codes, to_numpy(part.labels), part.facts)


def _told(distances: np.ndarray, relations: np.ndarray, radius: int | None, single: bool) -> str:
    right, shared = int((relations == 2).sum()), "of the same class" if single else "that share a class with it"
    if radius is None:
        least, most = distances[[0, -1]].tolist()
        far = f"{least} to {counted(most, 'bit')}" if least < most else counted(most, "bit")
        return f"{right} of {len(distances)} neighbors {shared}, at {far}"
    if not len(distances):
        return f"no image within {counted(radius, 'bit')}"
    return f"{counted(len(distances), 'image')} within {counted(radius, 'bit')}, {right:,} {shared}"


def _signs(codes: np.ndarray) -> list[str]:
    return ["".join("+" if bit > 0 else "-" for bit in code) for code in codes]


def _bits(code: Any) -> np.ndarray:
    return np.array([1 if sign == "+" else -1 for sign in code]) if isinstance(code, str) else np.asarray(code)
