"""The base of the ipywidgets of the package: a picture with controls, which tells when its kernel is gone."""

from collections.abc import Callable, Sequence
from typing import Any

from shc.figures import Figure

try:
    import ipywidgets as ipw
except ImportError as error:
    raise ImportError("widgets need the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'") from error

# JupyterLab marks every part of a widget whose kernel is gone by a class: its controls fade and say so, pictures stay
GONE = """<style>
.shc-widget > .shc-gone { display: none }
.shc-widget.jupyter-widgets-disconnected > .shc-gone { display: block }
.shc-widget.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before { display: none }
.shc-widget.jupyter-widgets-disconnected .widget-hbox { opacity: 0.4; pointer-events: none }
</style><b>⚠ The kernel was restarted, these controls are dead: run this cell again.</b>"""


class Pictured(ipw.VBox):
    """A box with a picture, `.image`; a notebook viewed where widgets do not work shows the picture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.alt = ""
        self.add_class("shc-widget")
        self.gone = ipw.HTML(GONE)
        self.gone.add_class("shc-gone")
        layout = ipw.Layout(max_width="100%", object_fit="contain", align_self="flex-start")
        self.image = ipw.Image(format="png", layout=layout)

    def static(self) -> Figure:
        """The picture as a figure of its own."""
        raise NotImplementedError

    def show(self, figure: Figure) -> None:
        """Put another figure into the picture; `.alt` then holds its alternative text."""
        # not the image's tooltip: ipywidgets 8 fails in the browser for tooltips of widgets without a description
        self.alt = figure.alt
        self.image.value = figure.frame()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if not isinstance(bundle, dict) or not self.image.value:
            return bundle
        alt, picture = self.alt, bytes(self.image.value)  # the trait may hold a memoryview
        return {**bundle, "image/png": picture, "text/plain": alt}, {"image/png": {"alt": alt}}


def button(text: str, clicked: Callable[[], Any], tooltip: str = "") -> Any:
    """A push button."""
    made = ipw.Button(description=text, tooltip=tooltip or text, layout=ipw.Layout(width="6rem"))
    made.on_click(lambda _: clicked())
    return made


def row(widgets: Sequence[Any]) -> Any:
    """Widgets side by side, on several lines where the page is narrow."""
    return ipw.HBox(widgets, layout=ipw.Layout(flex_flow="row wrap"))
