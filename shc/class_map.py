"""The heat map that answers: point at two classes of S and see images of both, their S and their Hamming distance.

The front end (class_map.js and class_map.css, after asking.js) draws S from a table and asks for one thing, `pair`: all
that is told of two classes, with thumbnails. Images are decoded when they are asked for, a few of each class.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps

from shc import hamming, label_sets, plots
from shc.asking import Asking, check_lengths, counted, front_end, thumbnails
from shc.class_plots import lowest_shown, square, whole
from shc.datasets.sources import MissingData
from shc.figures import Figure, palette, signed
from shc.histograms import to_numpy
from shc.runs import Run, RunError

if TYPE_CHECKING:
    from shc.datasets import ImageSet

SHOWN = 6  # images of a class


class ClassMap(Asking):
    """Class similarity S [C, C] as a heat map whose cells answer, in the order of its dendrogram, taxonomy or names.

    `images` uint8 [n, 3, S, S] (a tensor, an array or `FileImages`) with `labels`, class positions int64 [n] or label
    sets bool [n, C], show what classes look like; `groups` int64 [C] are super-classes. With hash centers `codes` ±1
    [C, K] it tells distances too, else `without` says why not. ValueError if numbers do not match.

    >>> S = np.array([[1, 0.9, 0.1], [0.9, 1, 0], [0.1, 0, 1]])
    >>> images, labels = np.zeros((3, 3, 8, 8), np.uint8), np.arange(3)
    >>> ClassMap(S, ["cat", "dog", "car"], images, labels).pair(0, 1)["told"]
    'cat and dog: s = 0.90, the most similar of 3 pairs'
    """

    _esm, _css = front_end("class_map")
    questions = ("pair",)

    def __init__(
        self,
        S: np.ndarray,
        names: Sequence[str],
        images: Any,
        labels: Any,
        groups: np.ndarray | None = None,
        group_names: Sequence[str] | None = None,
        codes: np.ndarray | None = None,
        *,
        without: str = "",
    ) -> None:
        self.S, self.names = square(S), [str(name) for name in names]
        self.groups = np.zeros(len(self.S), np.int64) if groups is None else whole(groups)
        check_lengths(classes=self.S, names=self.names, groups=self.groups)
        check_lengths(images=images, labels=labels)
        self.images, self.labels = images, to_numpy(labels)
        self.group_names = list(group_names or ()) if len(np.unique(self.groups)) > 1 else []
        self.distances, self.bits = None, 0
        if codes is not None:
            check_lengths(classes=self.S, centers=codes)
            self.distances, self.bits = hamming.distance(codes, codes), np.shape(codes)[1]
        i, j = np.triu_indices(len(self.S), 1)
        self.sorted = np.sort(self.S[i, j])
        self.seen: dict[int, list[str]] = {}  # thumbnails of the classes that were asked for
        pairs = self._pairs(i, j)
        super().__init__(
            first=dict(
                names=self.names, groups=self.groups.tolist(), group_names=self.group_names,
                colors=palette(len(self.group_names)), scale=cividis(), low=lowest_shown(self.S),
                S=self.S.astype("<f4").tobytes(),
                bits=self.bits, apart=None if self.distances is None else self.distances.astype("<u2").tobytes(),
                orders={name: order.tolist() for name, order in self._orders().items()}, pairs=pairs, without=without,
                pair=self.pair(*pairs[0][1:] if pairs else (0, 0)),
            )
        )  # fmt: skip
        self.on_msg(self.asked)

    @classmethod
    def of_run(cls, run: Run, images: "ImageSet | None" = None) -> "ClassMap":
        """The heat map of a run's S, with the distances of its semantic centers once they are made from this S.

        What is missing, and which notebook makes it, is told in the widget; only `static` raises RunError.
        """
        from shc import stages

        try:
            images = images or stages.images_of(run)
            S = run.load("similarity", fingerprint=images.fingerprint)["S"]
        except (RunError, MissingData) as error:
            return cls.failed(str(error))
        codes, without = None, ""
        try:
            codes = stages.load_centers(run, images)[0]["codes"]
        except RunError:
            without = "no distances yet: notebook 03_hash_centers makes centers from this S"
        x, y = images.split("train")
        about = stages.trained_names(images), x, stages.positions(images, y)
        return cls(S, *about, *stages.trained_groups(images), codes, without=without)

    def pair(self, a: int, b: int) -> dict[str, Any]:
        """What there is to say of two classes: s, bits between their centers (None without), a sentence, and images."""
        for which in (a, b):
            if which not in range(len(self.names)):
                raise ValueError(f"class {which!r}; expected a whole number from 0 to {len(self.names) - 1}")
        s, bits = float(self.S[a, b]), None if self.distances is None else int(self.distances[a, b])
        faces = [dict(name=self.names[c], group=self._group(c), src=self._images(c)) for c in (a, b)]
        return {"a": a, "b": b, "s": s, "bits": bits, "told": self._told(a, b, s, bits), "faces": faces}

    def drawn(self) -> Figure:
        """The heat map in the dendrogram's order."""
        return plots.similarity_heatmap(self.S, self.names, self.groups, self.group_names or None)

    def _told(self, a: int, b: int, s: float, bits: int | None) -> str:
        if a == b:
            return f"{self.names[a]}: a class is similar to itself by 1"
        place, pairs = len(self.sorted) - int(np.searchsorted(self.sorted, s, "right")) + 1, len(self.sorted)
        rank = "the most similar" if place == 1 else f"in place {place:,}"
        told = f"{self.names[a]} and {self.names[b]}: s = {signed(s)}, {rank} of {counted(pairs, 'pair')}"
        if bits is not None:
            told += f"; their centers differ in {bits} of {counted(self.bits, 'bit')}"
        kinds = {self._group(a), self._group(b)} - {""}
        return told + (f"; both {kinds.pop()}" if len(kinds) == 1 else f"; {' and '.join(kinds)}" if kinds else "")

    def _group(self, c: int) -> str:
        return self.group_names[self.groups[c]] if self.group_names else ""

    def _images(self, c: int) -> list[str]:
        """Thumbnails of a few images of a class, drawn by lot but always the same."""
        if c not in self.seen:
            rows = np.flatnonzero(label_sets.holds(self.labels, c))
            rows = np.random.default_rng(c).permutation(rows)[:SHOWN]
            self.seen[c] = thumbnails(self.images[rows]) if len(rows) else []
        return self.seen[c]

    def _orders(self) -> dict[str, np.ndarray]:
        """int64 [C]: the classes in every order that is offered; within a super-class as in the dendrogram."""
        tree = plots.dendrogram_order(self.S)
        taxonomy = {"taxonomy": tree[np.argsort(self.groups[tree], kind="stable")]} if self.group_names else {}
        by_name = np.array(sorted(range(len(self.names)), key=lambda c: self.names[c].casefold()))
        return {"dendrogram": tree} | taxonomy | {"name": by_name}

    def _pairs(self, i: np.ndarray, j: np.ndarray) -> list[tuple[str, int, int]]:
        """Pairs worth a look: what they are, and both classes."""
        s = self.S[i, j]
        found = {"most similar": s, "most unlike": -s}
        across = self.groups[i] != self.groups[j]
        if across.any() and not across.all():
            found["alike, yet of two super-classes"] = np.where(across, s, -np.inf)
            found["unlike, yet of one super-class"] = np.where(across, -np.inf, -s)
        if self.distances is not None:
            found["worst placed"] = np.square(s - 1 + 2 * self.distances[i, j] / self.bits)
        best = {name: int(values.argmax()) for name, values in found.items()} if len(i) else {}
        return [(name, int(i[at]), int(j[at])) for name, at in best.items()]


def cividis() -> bytes:
    """uint8 [256, 3] as bytes: the colours of −1 to 1."""
    return (colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes()
