"""An image as block characters: two rows of pixels to a line of text, one column to a pixel."""

from __future__ import annotations

from collections.abc import Sequence

from rich.color import Color
from rich.style import Style
from rich.text import Text

_UPPER_HALF = "▀"
_SHADES = " ░▒▓█"


def draw(pixels: Sequence[Sequence[int]], *, has_colour: bool) -> Text:
    """Draw grey levels (0 to 255, 0 dark). Without colour, shades of blocks stand for them."""
    drawn = Text()
    pixels = _without_margin(pixels)
    for top in range(0, len(pixels), 2):
        upper = pixels[top]
        lower = pixels[top + 1] if top + 1 < len(pixels) else [0] * len(upper)
        for above, below in zip(upper, lower, strict=True):
            if has_colour:
                style = Style(
                    color=Color.from_rgb(above, above, above), bgcolor=Color.from_rgb(below, below, below)
                )
                drawn.append(_UPPER_HALF, style)
            else:
                level = (above + below) / 2
                drawn.append(_SHADES[min(int(level / 256 * len(_SHADES)), len(_SHADES) - 1)])
        drawn.append("\n")
    return drawn


def _without_margin(pixels: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """Leave out the empty rows above and below, which cost a person's screen only."""
    inked = [number for number, row in enumerate(pixels) if any(row)]
    return pixels[inked[0] : inked[-1] + 1] if inked else pixels
