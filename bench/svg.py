"""Two plots as plain SVG text: bars and lines. No library: a picture of twenty rectangles does not need one.

Both take numbers and words and give a whole document, the same for the same input. The colours tell apart for most
kinds of colour blindness (Okabe and Ito, 2008) and stand on white and on black.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
_WIDTH, _RIGHT, _TOP, _BOTTOM = 760, 70, 44, 46
_LEFT, _EDGE = 240, 90  # of bars and of lines: where the words end
_BAR, _GAP = 16, 12
_LINES_HEIGHT = 360
_STYLE = "font-family='system-ui, sans-serif' font-size='13'"


def bars(title: str, groups: Mapping[str, Mapping[str, float]], form: str = "{:,.0f}") -> str:
    """Horizontal bars: group -> series -> value. A series has one colour in all groups."""
    names = list(dict.fromkeys(name for series in groups.values() for name in series))
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    most = max((value for series in groups.values() for value in series.values()), default=0.0) or 1.0
    parts: list[str] = []
    y = _TOP
    for group, series in groups.items():
        middle = y + len(series) * _BAR / 2 + 4
        parts.append(_text(_LEFT - 10, middle, group, "end"))
        for name, value in series.items():
            width = (_WIDTH - _LEFT - _RIGHT) * value / most
            parts.append(
                f"<rect x='{_LEFT}' y='{y:.1f}' width='{width:.1f}' height='{_BAR - 2}' fill='{colours[name]}'>"
                f"<title>{escape(f'{group}, {name}: {form.format(value)}')}</title></rect>"
            )
            parts.append(_text(_LEFT + width + 5, y + _BAR - 4, form.format(value), "start", size=11))
            y += _BAR
        y += _GAP
    parts += _legend(colours, y + 6)
    return _document(title, y + 26, parts)


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_name: str,
    y_name: str,
    log_x: bool = False,
    log_y: bool = False,
    x_words: Mapping[float, str] | None = None,
) -> str:
    """Lines with points: series -> (x, y). x_words: what to write at which x instead of the number."""
    points = [point for line in series.values() for point in line]
    xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
    across = _scale(min(xs), max(xs), _EDGE, _WIDTH - _RIGHT, log_x)
    bottom = _LINES_HEIGHT - _BOTTOM
    low = _floor_power(min(ys)) if log_y else 0.0
    up = _scale(low, max(ys) * (1.0 if log_y else 1.1), bottom, _TOP + 10, log_y)
    parts = [f"<line x1='{_EDGE}' y1='{bottom}' x2='{_WIDTH - _RIGHT}' y2='{bottom}' stroke='#888'/>"]
    for x in xs:
        word = (x_words or {}).get(x, _short(x))
        parts.append(_text(across(x), bottom + 18, word, "middle", size=11))
    for y in _ticks(low, max(ys), log_y):
        parts.append(f"<line x1='{_EDGE}' y1='{up(y):.1f}' x2='{_WIDTH - _RIGHT}' y2='{up(y):.1f}' stroke='#ccc'/>")
        parts.append(_text(_EDGE - 6, up(y) + 4, _short(y), "end", size=11))
    parts.append(_text((_EDGE + _WIDTH - _RIGHT) / 2, bottom + 36, x_name, "middle"))
    parts.append(_text(14, _TOP - 6, y_name, "start"))
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(series)}
    for name, line in series.items():
        placed = [(across(x), up(y), x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in placed)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colours[name]}' stroke-width='2'/>")
        for x, y, x_value, y_value in placed:
            words = escape(f"{name}: {(x_words or {}).get(x_value, _short(x_value))}, {y_value:,.3g}")
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colours[name]}'><title>{words}</title></circle>"
            )
    parts += _legend(colours, _LINES_HEIGHT + 8)
    return _document(title, _LINES_HEIGHT + 26, parts)


def _scale(low: float, high: float, start: float, end: float, log: bool):  # type: ignore[no-untyped-def]
    shape = (lambda value: math.log10(max(value, 1e-9))) if log else float
    span = (shape(high) - shape(low)) or 1.0
    return lambda value: start + (shape(value) - shape(low)) / span * (end - start)


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, last = math.floor(math.log10(max(low, 1e-9))), math.ceil(math.log10(max(high, 1e-9)))
        return [10.0**n for n in range(first, last + 1) if low <= 10.0**n <= high]
    step = _floor_power(high or 1.0) / 2
    while high / step > 6:
        step *= 2
    return [n * step for n in range(int(high / step) + 1)]


def _floor_power(value: float) -> float:
    return 10.0 ** math.floor(math.log10(max(value, 1e-9)))


def _short(value: float) -> str:
    for limit, word in ((1e6, "M"), (1e3, "k")):
        if value >= limit and value == int(value):
            return f"{value / limit:g}{word}"
    return f"{value:g}"


def _legend(colours: Mapping[str, str], y: float) -> list[str]:
    parts, x = [], 14.0
    for name, colour in colours.items():
        parts.append(f"<rect x='{x:.0f}' y='{y - 10:.0f}' width='12' height='12' fill='{colour}'/>")
        parts.append(_text(x + 17, y, name, "start"))
        x += 34 + 8 * len(name)
    return parts


def _text(x: float, y: float, words: str, anchor: str, size: int = 13) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' fill='#333'>{escape(words)}</text>"


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    head = _text(14, 20, title, "start", size=15)
    inside = "\n".join((f"<rect width='{_WIDTH}' height='{height:.0f}' fill='#fff'/>", head, *parts))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height:.0f}' width='{_WIDTH}' "
        f"height='{height:.0f}' {_STYLE}>\n{inside}\n</svg>\n"
    )
