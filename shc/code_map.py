"""Linked maps of hash codes: image codes around their centers, the centers' dendrogram, and what a selection holds.

The front end (code_map.js and code_map.css, after asking.js) draws points that are laid out here, and asks for one
thing, `select`: the images inside a box of the map, or of a class, with the mix of their classes and one page of
thumbnails.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import embedding, hamming, label_sets, plots, structure
from shc.asking import PAGE, Asking, check_lengths, counted, front_end, thumbnails, within
from shc.class_plots import whole
from shc.datasets.sources import MissingData
from shc.figures import BLUE, Figure, palette
from shc.runs import Run, RunError

if TYPE_CHECKING:
    from shc.datasets import ImageSet

MOST = 10_000  # image codes of a map


class CodeMap(Asking):
    """Centers ±1 [C, K] and image codes ±1 [N, K] on a map; a box on it, or a class, shows its images and their mix.

    `labels` int64 [N] are positions of classes, `images` uint8 [N, 3, S, S] (a tensor, an array or `FileImages`);
    `layouts` holds points [C + N, 2] by name, the centers first, and `groups` int64 [C] are super-classes. ValueError
    if numbers do not match, or for more than 10,000 images.

    >>> centers, codes = np.array([[1, 1, 1], [-1, -1, -1]]), np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]])
    >>> points = np.array([[0, 0], [4, 4], [0, 0], [1, 0], [4, 4.0]])
    >>> images = np.zeros((3, 3, 8, 8), np.uint8)
    >>> made = CodeMap(centers, codes, np.array([0, 0, 1]), images, {"toy": points}, ["cat", "car"])
    >>> made.select("toy", box=[0, 0.5, 0.5, 1])["told"]  # y goes down
    '2 images in the box: 2 cat'
    """

    _esm, _css = front_end("code_map", "dendrogram")
    questions = ("select",)

    def __init__(
        self,
        centers: np.ndarray,
        codes: np.ndarray,
        labels: Any,
        images: Any,
        layouts: Mapping[str, np.ndarray],
        names: Sequence[str],
        groups: np.ndarray | None = None,
        group_names: Sequence[str] | None = None,
    ) -> None:
        check_lengths(centers=centers, names=names, **({} if groups is None else dict(groups=groups)))
        check_lengths(images=images, codes=codes, labels=labels)
        self.both = hamming.as_codes(np.vstack([centers, codes]))  # (C + N, K)
        if not layouts:
            raise ValueError("there is no map; pass points of centers and codes, as shc.embedding lays them out")
        for name, points in layouts.items():
            check_lengths(**{"centers and codes": self.both, f"points of {name!r}": points})
        if len(codes) > MOST:
            raise ValueError(f"{len(codes):,} images; a map shows at most {MOST:,}: choose some of them")
        self.classes, self.names, self.images = len(centers), [str(name) for name in names], images
        self.labels = whole(labels)
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            told = f"{self.labels.min()} to {self.labels.max()}; expected 0 to {self.classes - 1}"
            raise ValueError(f"labels are {told}, the positions of the classes")
        self.groups = np.zeros(self.classes, np.int64) if groups is None else whole(groups)
        self.group_names = list(group_names or ()) if len(np.unique(self.groups)) > 1 else []
        self.layouts = {name: np.asarray(points, np.float64) for name, points in layouts.items()}
        self.places = {name: _fitted(points) for name, points in self.layouts.items()}
        super().__init__(
            first=dict(
                names=self.names, groups=self.groups.tolist(), group_names=self.group_names,
                colors=palette(len(self.group_names)) or [BLUE], labels=self.labels.astype("<u2").tobytes(),
                places={name: points.tobytes() for name, points in self.places.items()}, tree=self._tree(),
                signs=np.packbits(self.both.T > 0, axis=1).tobytes(), bits=self._bits(),
                found=self.select(next(iter(self.layouts))),
            )
        )  # fmt: skip
        self.on_msg(self.asked)

    @classmethod
    def of_run(
        cls,
        run: Run,
        images: "ImageSet | None" = None,
        layouts: Mapping[str, np.ndarray] | None = None,
        split: str | None = None,
        rows: np.ndarray | None = None,
    ) -> "CodeMap":
        """Maps of a run's semantic centers and codes of `split`: of its images `rows`, by default 1,000 drawn by lot.

        The split is by default the queries', or the training images' where queries have classes without a center. By
        default the `layouts` are classical MDS and UMAP. What is missing, and which notebook makes it, is told in the
        widget; only `static` raises RunError.
        """
        from shc import stages

        try:
            images = images or stages.images_of(run)
            centers, all_codes = stages.load_centers(run, images)[0]["codes"], stages.load_codes(run, images)
        except (RunError, MissingData) as error:
            return cls.failed(str(error))
        if split is None:
            seen = label_sets.known(stages.positions(images, images.split("query")[1]))
            split = "query" if bool(seen.all()) else "train"
        (x, y), codes = images.split(split), all_codes[split]
        rows = np.random.default_rng(0).permutation(len(codes))[:1000] if rows is None else rows
        if layouts is None:
            both = np.vstack([centers, codes[rows]])
            apart = hamming.distance(both, both)
            flat = embedding.classical_scaling(np.sqrt(apart))[0]
            layouts = {"Classical MDS": flat, "UMAP": embedding.umap_points(apart)}
        labels, names = label_sets.first(stages.positions(images, y[rows])), stages.trained_names(images)
        return cls(centers, codes[rows], labels, x[rows], layouts, names, *stages.trained_groups(images))

    def select(
        self, layout: str, box: Sequence[float] | None = None, chosen: int | None = None, page: int = 0
    ) -> dict[str, Any]:
        """The images inside a box [left, top, right, bottom] of the map, else those of class `chosen`, else all.

        `mix` counts their classes, the most frequent first; `images` are those of a page, with their thumbnails.
        """
        rows, where = np.arange(len(self.labels)), "on the map"
        if layout not in self.places:
            raise ValueError(f"no map {layout!r}; choose {' or '.join(self.places)}")
        if chosen is not None and chosen not in range(self.classes):
            raise ValueError(f"class {chosen!r}; expected a whole number from 0 to {self.classes - 1}")
        if box is not None:
            corners = np.array(box, np.float64).reshape(2, 2)
            points = self.places[layout][self.classes :]
            rows, where = np.flatnonzero(((points >= corners.min(0)) & (points <= corners.max(0))).all(1)), "in the box"
        elif chosen is not None:
            rows, where = np.flatnonzero(self.labels == chosen), f"of {self.names[chosen]}"
        counts = np.bincount(self.labels[rows], minlength=self.classes)
        mix = [(int(c), int(counts[c])) for c in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]]
        page, pages = within(page, len(rows))
        shown = rows[page * PAGE : (page + 1) * PAGE]
        sources = thumbnails(self.images[shown]) if len(shown) else []
        items = zip(shown.tolist(), self.labels[shown].tolist(), sources, strict=True)
        told = f"{counted(len(rows), 'image')} {where}"
        if box is not None and mix:
            told += ": " + ", ".join(f"{count:,} {self.names[c]}" for c, count in mix[:3])
            told += f" and {counted(len(mix) - 3, 'other class').replace('classs', 'classes')}" if len(mix) > 3 else ""
        return dict(
            layout=layout, box=None if box is None else list(box), chosen=chosen, total=len(rows), page=page,
            pages=pages, mix=mix, told=told, images=[dict(row=row, label=c, src=src) for row, c, src in items],
        )  # fmt: skip

    def drawn(self) -> Figure:
        """The maps side by side."""
        return plots.code_maps(self.layouts, self.labels, self.groups, self.group_names or None)

    def _tree(self) -> list[list[float]]:
        """The joints of the centers' dendrogram: two nodes each, a leaf by its class, joint j as C + j, and bits."""
        if self.classes < 2:
            return []
        codes = self.both[: self.classes]
        return structure.average_linkage(hamming.distance(codes, codes))[:, :3].tolist()

    def _bits(self) -> list[tuple[int, str]]:
        """The bits and what to call them, those first that tell most about the super-class, where there are some."""
        codes = self.both[: self.classes]
        if not self.group_names:
            return [(k, f"bit {k}") for k in range(codes.shape[1])]
        told = structure.bit_information(codes, self.groups)
        return [(int(k), f"bit {k} ({told[k]:.2f} bit of super-class)") for k in np.argsort(-told, kind="stable")]


def _fitted(points: np.ndarray) -> np.ndarray:
    """float32 [n, 2]: points moved into the unit square, both directions by one scale, y downwards as on a page."""
    points = np.asarray(points, np.float64) * (1, -1)
    low, span = points.min(0), np.ptp(points, axis=0)
    scale = max(span.max(), 1e-12)
    return ((points - low + (scale - span) / 2) / scale).astype("<f4")
