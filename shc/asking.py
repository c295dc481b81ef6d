"""Widgets whose front end only shows and asks: what `RetrievalExplorer`, `ClassMap` and `CodeMap` have in common.

Everything that is told is computed in Python. A front end is one ES module, asking.js followed by the widget's own
file, so that nothing is imported or fetched; its style is asking.css and the widget's own.
"""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from shc.figures import Figure
from shc.histograms import to_numpy
from shc.runs import RunError

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("widgets need the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'") from error

PAGE = 24  # images of a sheet
PIXELATED = 64  # pixels up to which an image is sent as it is, losslessly, and enlarged with crisp edges
SIDE = 192  # pixels that larger images are reduced to: twice what the page shows, for fine screens


class Asking(anywidget.AnyWidget):
    """A widget that answers its front end's questions: `questions` names the methods that do, `drawn` is its twin.

    Its front end is told by `_esm, _css = front_end("name")`.
    """

    questions: ClassVar[tuple[str, ...]] = ()
    drawn: Callable[..., Figure]  # what `static` shows
    problem = ""  # why there is nothing to show
    first = traitlets.Dict().tag(sync=True)  # what is shown before anything was asked

    @classmethod
    def failed(cls, problem: str) -> Self:
        """The widget that only tells why it cannot show more; `static` raises RunError."""
        widget = cls.__new__(cls)
        widget.problem = problem
        anywidget.AnyWidget.__init__(widget, first=dict(problem=problem))
        return widget

    def static(self, *options: Any) -> Figure:
        """The picture that stands where widgets do not work; RunError if there is nothing to show."""
        if self.problem:
            raise RunError(self.problem)
        return self.drawn(*options)

    def asked(self, _: Any, question: dict[str, Any], __: Any = None) -> None:
        """Answer the front end; `id` tells it which question of which view this is about."""
        values = dict(question)
        told, kind = dict(id=values.pop("id", None)), values.pop("kind", None)
        try:
            if kind not in self.questions:
                raise ValueError(f"no question {kind!r}; ask {' or '.join(self.questions)}")
            answer = getattr(self, kind)(**values)
        except Exception as error:  # a click never ends in a traceback
            answer = dict(problem=str(error) or type(error).__name__)
        self.send(told | answer)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**options)
        data, metadata = bundle
        if self.problem:
            return data | {"text/plain": self.problem}, metadata
        figure = self.static()
        data |= {"image/png": figure.frame(), "text/plain": figure.alt}
        return data, metadata | {"image/png": {"alt": figure.alt}}


def front_end(name: str, *parts: str) -> tuple[str, str]:
    """The module and the style of a widget: asking.js and .css, and the widget's own; `parts` are more .js between."""
    text = lambda file: Path(__file__).with_name(file).read_text(encoding="utf-8")
    script = "".join(text(f"{part}.js") for part in ("asking", *parts, name))
    return script, text("asking.css") + text(f"{name}.css")


def thumbnails(images: Any) -> list[str]:
    """Images uint8 [n, 3, S, S] as data URLs: PNG, or JPEG of at most SIDE pixels for those larger than PIXELATED."""
    from PIL import Image

    found = []
    for pixels in np.ascontiguousarray(np.moveaxis(to_numpy(images), 1, -1)):
        picture, stream = Image.fromarray(pixels), io.BytesIO()
        small = max(picture.size) <= PIXELATED
        if not small:
            picture.thumbnail((SIDE, SIDE))
        picture.save(stream, "PNG" if small else "JPEG", quality=88)
        found.append(f"data:image/{'png' if small else 'jpeg'};base64," + base64.b64encode(stream.getvalue()).decode())
    return found


def within(page: int, items: int) -> tuple[int, int]:
    """The page, moved into the range of pages, and how many there are; at least one, which may be empty.

    >>> within(7, 2 * PAGE + 1)
    (2, 3)
    """
    pages = max(1, -(-items // PAGE))
    return min(max(0, int(page)), pages - 1), pages


def counted(count: int, thing: str) -> str:
    """A number with its thing.

    >>> counted(1, "bit"), counted(1200, "image")
    ('1 bit', '1,200 images')
    """
    return f"{count:,} {thing}{'s' * (count != 1)}"


def check_lengths(**given: Any) -> None:
    """ValueError unless all that is given, by name, has the same length, which is not 0."""
    counts = {name: len(values) for name, values in given.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        raise ValueError(f"{told}; pass as many of each, and at least one")
