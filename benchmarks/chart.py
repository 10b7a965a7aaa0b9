"""The chart of the README as SVG: the rate of each rival as a part of Corral's, and the CPU time of a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from msgspec import Struct


class Bars(Struct, frozen=True):
    """What one side has in the chart."""

    name: str
    rate: float
    """As a part of Corral's."""
    cpu: tuple[float, float, float]
    """us a job: server, worker, producer."""


class Theme(Struct, frozen=True):
    name: str
    text: str
    faint: str
    ours: str
    other: str
    parts: tuple[str, str, str]


THEMES = (
    Theme("light", "#1f2328", "#59636e", "#0969da", "#8c959f", ("#0550ae", "#54aeff", "#b6d3f2")),
    Theme("dark", "#f0f6fc", "#9198a1", "#4493f8", "#656c76", ("#1f6feb", "#79c0ff", "#35557d")),
)

_ROW, _BAR, _TOP = 26, 15, 66
_NAME, _PANEL, _GAP, _LABEL = 118, 235, 48, 52
_WIDTH = _NAME + 2 * (_PANEL + _LABEL) + _GAP


def draw(sides: Sequence[Bars], theme: Theme, *, source: Sequence[str]) -> str:
    """An SVG with a transparent ground, sides from top to bottom; the first is Corral. `source`: lines below."""
    below = _TOP + _ROW * len(sides) + 22
    height = below + 16 * len(source) - 3
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">',
        "<title>Jobs a second and CPU time of a job, Corral and other job queues</title>",
        *_heads(theme),
        *(line for row, side in enumerate(sides) for line in _side(side, row, sides, theme)),
        *(_text(0, below + 16 * row, line, theme.faint, size=11) for row, line in enumerate(source)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _heads(theme: Theme) -> Iterator[str]:
    left, right = _NAME, _NAME + _PANEL + _LABEL + _GAP
    yield _text(left, 18, "Jobs a second, Corral = 1", theme.text, bold=True)
    yield _text(left, 36, "longer is better", theme.faint, size=11)
    yield _text(right, 18, "CPU time of a job, µs", theme.text, bold=True)
    yield _text(right, 36, "shorter is better", theme.faint, size=11)
    x = float(right)
    for word, colour in zip(("server", "worker", "producer"), theme.parts, strict=True):
        yield _rect(x, 45, 9, 9, colour)
        yield _text(x + 13, 54, word, theme.faint, size=11)
        x += 66


def _side(side: Bars, row: int, sides: Sequence[Bars], theme: Theme) -> Iterator[str]:
    top = _TOP + row * _ROW
    middle = top + _BAR - 3
    is_ours = row == 0
    yield _text(_NAME - 10, middle, side.name, theme.text, anchor="end", bold=is_ours)
    width = max(1.0, side.rate / max(other.rate for other in sides) * _PANEL)
    yield _rect(_NAME, top, width, _BAR, theme.ours if is_ours else theme.other)
    yield _text(_NAME + width + 6, middle, f"{side.rate:.2g}" if side.rate < 1 else f"{side.rate:.3g}", theme.text)
    x = float(_NAME + _PANEL + _LABEL + _GAP)
    scale = _PANEL / max(sum(other.cpu) for other in sides)
    for part, colour in zip(side.cpu, theme.parts, strict=True):
        yield _rect(x, top, max(0.5, part * scale), _BAR, colour)
        x += max(0.5, part * scale)
    yield _text(x + 6, middle, f"{sum(side.cpu):,.0f}", theme.text)


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _text(
    x: float, y: float, words: str, colour: str, *, size: int = 13, anchor: str = "start", bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
