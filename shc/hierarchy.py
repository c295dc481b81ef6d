"""A tree over the classes: every class has a path of parents, from the coarsest group to its own.

All leaves lie at the same depth. Level 0 is the class itself, level 1 its super-class, and so on; the (unnamed) root
joins everything.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hierarchy:
    """Class tree given as one path of parent names per class, coarsest first.

    `paths[c]` is e.g. `("animals", "birds")` for the class "penguin": two levels above the class.

    >>> tree = Hierarchy((("birds",), ("birds",), ("fish",)))
    >>> tree.similarity()[0]
    array([1. , 0.5, 0. ])
    """

    paths: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        depths = {len(path) for path in self.paths}
        if len(depths) != 1:
            raise ValueError(
                f"all classes need equally long parent paths, got lengths {sorted(depths)}; "
                "repeat the last parent's name to pad the shorter ones"
            )

    @property
    def height(self) -> int:
        """Edges between a class and the root: 2 for classes < super-classes < root."""
        return len(self.paths[0]) + 1

    def group_names(self, level: int = 1) -> list[str]:
        """Names of the groups `level` steps above the classes, in order of first appearance."""
        return [key[-1] for key in dict.fromkeys(self._keys(level))]

    def group_ids(self, level: int = 1) -> np.ndarray:
        """int64 [C]: which group of `group_names(level)` each class belongs to; level 0 is the class itself."""
        if level == 0:
            return np.arange(len(self.paths))
        names = list(dict.fromkeys(self._keys(level)))
        return np.array([names.index(key) for key in self._keys(level)])

    def shared_levels(self) -> np.ndarray:
        """int64 [C, C]: number of levels two classes share, `height` for the same class and 0 for strangers."""
        shared = np.zeros((len(self.paths),) * 2, dtype=np.int64)
        for level in range(self.height):
            ids = self.group_ids(level)
            shared += ids[:, None] == ids[None, :]
        return shared

    def similarity(self) -> np.ndarray:
        """float64 [C, C]: 1 − height(lowest common ancestor) / height(root)  (Barz & Denzler 2019)."""
        return self.shared_levels() / self.height

    def _keys(self, level: int) -> list[tuple[str, ...]]:
        if not 0 <= level < self.height:
            raise ValueError(f"level {level} does not exist; this hierarchy has levels 0 to {self.height - 1}")
        return [path[: len(path) - level + 1] for path in self.paths]
