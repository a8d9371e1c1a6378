"""Charts of a comparison as Vega-Lite specifications, made with altair; SVG and PNG of each.

One specification serves the interactive page and the still picture. Rows are told apart by colour,
by dash and by shape, so that neither grey print nor colour blindness hides anything. Colours are
those of Okabe and Ito (2008). altair takes half a second to import: whoever imports this module is
about to draw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import altair as alt
import vl_convert

from rnnctl import storage
from rnnctl.errors import UsageError
from rnnctl.reports.cells import GREY, color, listed
from rnnctl.reports.chart_data import (
    NAMES,
    Axis,
    ChartData,
    Datum,
    Limit,
    charts,
    diagnosis_charts,
)
from rnnctl.reports.snapshots import snapshot_charts
from rnnctl.results.comparison import Comparison
from rnnctl.results.diagnostics import DiagnosticsResult, SnapshotsResult
from rnnctl.wording import either

DASHES: dict[str, list[int]] = {"good": [1, 0], "torch": [5, 4], "chrono": [2, 2]}
DASHES_AGAIN: list[list[int]] = [[9, 3], [1, 4], [9, 3, 1, 3]]
SHAPES_AGAIN = ["triangle-left", "wedge", "stroke"]
"""Of further rows of one cell and initialisation."""
NO_CELL_DASH = [1, 3]
NO_CELL_SHAPE = "triangle-right"
HEIGHT = 280
ROW_HEIGHT = 40
GAP = 24  # between two charts of one picture
WIDTH = 560  # of a still picture
Spec = dict[str, Any]
_Look = TypeVar("_Look")


def specification(data: ChartData, *, page: bool) -> Spec:
    """The chart as a Vega-Lite object; for the `page` it fills its container, in its colours."""
    draw = {"line": _lines, "interval": _intervals, "scatter": _scatter}[data.kind]
    chart = draw(data).properties(
        width="container" if page else WIDTH,
        height=HEIGHT if data.kind != "interval" else max(80, ROW_HEIGHT * len(data.rows)),
    )
    if not page:
        chart = chart.properties(title=alt.Title(data.title, anchor="start"))
    # altair refuses more than 5,000 values, for the sake of notebooks.
    with alt.data_transformers.disable_max_rows():
        spec: Spec = chart.configure(**_look(page)).to_dict()
    return spec


def _look(page: bool) -> Spec:
    ink = "currentColor" if page else "#222222"
    axis = {
        "labelColor": ink, "titleColor": ink, "domainColor": ink, "tickColor": ink,
        "gridColor": ink, "gridOpacity": 0.12, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal",
    }  # fmt: skip
    legend = {
        "labelColor": ink, "titleColor": ink, "orient": "bottom", "title": None,
        "labelFontSize": 12, "symbolSize": 120, "labelLimit": 220,
    }  # fmt: skip
    return {
        "background": "transparent" if page else "white", "axis": axis, "legend": legend,
        "title": {"color": ink, "fontSize": 14}, "view": {"stroke": None},
        "font": "system-ui, -apple-system, 'Segoe UI', sans-serif",
    }  # fmt: skip


def _looks(data: ChartData) -> list[tuple[str, str]]:
    """Cell and initialisation of each row, which give it its look."""
    return [data.styles.get(row, ("", "")) for row in data.rows]


def _by_row(kind: Any, data: ChartData, looks: Sequence[Any]) -> Any:
    """Rows told apart by an encoding of that `kind`: one of `looks` for each."""
    scale = alt.Scale(domain=list(data.rows), range=list(looks))
    return kind("row:N", scale=scale, title=None, legend=_legend(data))


def _legend(data: ChartData) -> alt.Legend | None:
    """None beside an axis of rows."""
    # The same for colour, dash and shape: Vega makes one legend only of those that are equal.
    if data.kind == "interval":
        return None
    inits = {init for row, (_, init) in data.styles.items() if row in data.rows and init}
    columns = len(inits) if len(inits) > 1 else 3  # a cell's initialisations side by side
    # Of lines the marker, not the band's faint fill with a dashed outline.
    outline: dict[str, Any] = {"symbolStrokeWidth": 0} if data.kind == "line" else {}
    return alt.Legend(title=None, symbolOpacity=1, columns=columns, **outline)


def _color(data: ChartData) -> Any:
    return _by_row(alt.Color, data, [color(cell) for cell, _ in _looks(data)])


def _dash(data: ChartData) -> Any:
    """By initial weights where a chart has several, else by cell."""
    looks = _looks(data)
    one_init = len({init for _, init in looks if init}) == 1

    def own(cell: str, init: str) -> list[int]:
        found = listed(cell)
        if found is None:
            return NO_CELL_DASH
        return list(found.dash) if one_init else DASHES.get(init, NO_CELL_DASH)

    return _by_row(alt.StrokeDash, data, _told_apart(looks, own, DASHES_AGAIN))


def _shape(data: ChartData) -> Any:
    def own(cell: str, init: str) -> str:
        found = listed(cell)
        return NO_CELL_SHAPE if found is None else str(found.markers[init == "torch"])

    return _by_row(alt.Shape, data, _told_apart(_looks(data), own, SHAPES_AGAIN))


def _told_apart(
    looks: Sequence[tuple[str, str]], own: Callable[[str, str], _Look], others: Sequence[_Look]
) -> list[_Look]:
    """What each row is drawn with: its `own`, or one of `others` for the second row and further
    ones of one cell and initialisation, which differ in something else, such as their size.
    """
    made = []
    for place, (cell, init) in enumerate(looks):
        again = looks[:place].count((cell, init)) if listed(cell) else 0
        made.append(others[(again - 1) % len(others)] if again else own(cell, init))
    return made


def _pick() -> Any:
    """Clicking a row in the legend leaves that row alone; a click elsewhere brings all back."""
    return alt.selection_point(name="pick", fields=["row"], bind="legend", toggle="true")


def _fade(pick: Any, full: float, faded: float) -> Any:
    return alt.condition(pick, alt.value(full), alt.value(faded))


def _scale(axis: Axis) -> Any:
    if axis.log:
        return alt.Scale(type="log", nice=False, padding=8)
    if axis.domain is not None:
        return alt.Scale(domain=list(axis.domain))
    return alt.Scale(zero=False, padding=8)


FINER = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""Leading digits of ticks where an axis spans so little that fewer give no scale."""
SMALL = "datum.value < 0.001 ? format(datum.value, '~e') : format(datum.value, '~g')"


def _x(data: ChartData, field: str, **more: Any) -> alt.X:
    """A number of each datum across the chart; `more`: as altair has it."""
    return alt.X(f"{field}:Q", title=data.x.title, scale=_scale(data.x), **more)


def _y(data: ChartData, field: str, **more: Any) -> alt.Y:
    """A number of each datum up the chart."""
    return alt.Y(f"{field}:Q", title=data.y.title, scale=_scale(data.y), **more)


def _axes(data: ChartData) -> tuple[Any, Any]:
    across = alt.Axis(grid=False, labelOverlap="greedy", **_ticks(data, "x", (1, 2, 5)))
    upward = alt.Axis(**_ticks(data, "y", (1,)))
    return _x(data, "x", axis=across), _y(data, "y", axis=upward)


def _ticks(data: ChartData, name: str, leading: Sequence[int]) -> Spec:
    """Ticks of an axis; a logarithmic one gets those with `leading` digits, and no others."""
    axis = data.x if name == "x" else data.y
    keys: tuple[str, ...] = ("x", "lo", "hi", "seed") if data.kind == "interval" else (name,)
    keys = ("y", "low", "high") if name == "y" else keys
    found = [value[key] for value in data.values for key in keys if key in value]
    known = [one for one in found if isinstance(one, (int, float)) and one > 0]
    if not axis.log:  # 200k instead of 200,000 leaves room on a phone
        return {"tickCount": 5, **({"format": "~s"} if max(known, default=0) >= 1000 else {})}
    lowest, highest = (math.floor(math.log10(edge(known))) for edge in (min, max))
    inside: list[float] = []
    for digits in (leading, FINER):
        ticks = [digit * 10.0**power for power in range(lowest, highest + 2) for digit in digits]
        inside = [tick for tick in ticks if min(known) * 0.999 <= tick <= max(known) * 1.001]
        if len(inside) > 2:
            break
    else:
        inside = _even(min(known), max(known)) or inside
    return {"values": inside or known[:1], "labelExpr": SMALL}


def _even(low: float, high: float) -> list[float]:
    """At least three ticks at equal steps of 1, 2 or 5 between two numbers; [] where these are one.

    >>> _even(1.31, 1.79)
    [1.4, 1.5, 1.6, 1.7]
    """
    if high <= low * 1.01:
        return []
    unit = 10.0 ** math.floor(math.log10(high - low))
    made: list[float] = []
    for step in (unit, unit / 2, unit / 5, unit / 10):
        digits = max(0, 1 - math.floor(math.log10(step)))
        made = [round(k * step, digits) for k in range(math.ceil(low / step), int(high / step) + 1)]
        if len(made) > 2:
            break
    return made


def _tooltip(data: ChartData) -> list[Any]:
    return [
        alt.Tooltip("row:N", title="model"),
        alt.Tooltip("x:Q", title=data.x.title, format=".4~g"),
        alt.Tooltip("y:Q", title=data.y.title or "value", format=".4~g"),
        alt.Tooltip("lo:Q", title="95 % from", format=".4~g"),
        alt.Tooltip("hi:Q", title="95 % to", format=".4~g"),
    ]


def _chart(values: Sequence[Datum]) -> alt.Chart:
    return alt.Chart({"values": list(values)})


def _lines(data: ChartData) -> Any:
    pick = _pick()
    near = alt.selection_point(name="near", on="pointerover", nearest=True, empty=False)
    x, y = _axes(data)
    base = _chart(data.values).encode(x=x, color=_color(data))
    # The order of layers is that of drawing: limits behind all, bands behind lines, points on top.
    between = [value for value in data.values if "low" in value]
    bands = _chart(between).mark_area(clip=True).encode(
        x=x, color=_color(data), y=_y(data, "low"), y2="high:Q", opacity=_fade(pick, 0.13, 0.0)
    )  # fmt: skip
    lines = base.mark_line(strokeWidth=2.2, clip=True).encode(
        y=y, strokeDash=_dash(data), opacity=_fade(pick, 1.0, 0.1)
    )
    points = _chart([value for value in data.values if "mark" in value])
    points = points.mark_point(filled=True, clip=True).encode(
        x=x, color=_color(data), y=y, shape=_shape(data), tooltip=_tooltip(data),
        size=alt.condition(near, alt.value(110), alt.value(36)),
        opacity=_fade(pick, 1.0, 0.05),
    )  # fmt: skip
    layers = [bands, lines] if between else [lines]  # Vega complains of an empty one
    for way, angle in (("above", 0), ("below", 180)):  # arrows: a cell's points are triangles
        if outside := [value for value in data.values if value.get("beyond") == way]:
            marks = _chart(outside).mark_point(shape="arrow", angle=angle, filled=True, size=260)
            layers.append(
                marks.encode(x=x, y=y, color=_color(data), opacity=_fade(pick, 1.0, 0.05))
            )
    return alt.layer(*_limits(data), *layers, points.add_params(pick, near))


def _limits(data: ChartData) -> list[Any]:
    """Dashed lines across, each with what it means at its end."""
    return [layer for limit in data.limits for layer in _limit(limit, data)]


def _limit(limit: Limit, data: ChartData) -> list[Any]:
    upright = limit.axis == "x"
    base = _chart([{"at": limit.at, "label": limit.label}])
    line = base.mark_rule(strokeDash=[3, 3], opacity=0.6, color=GREY)
    words = base.mark_text(color=GREY, fontSize=11, align="left", dx=4, dy=6 if upright else -6)
    place = {"x": _x(data, "at")} if upright else {"y": _y(data, "at")}
    edge = {"y" if upright else "x": alt.value(0)}
    return [line.encode(**place), words.encode(**place, **edge, text="label:N")]


def _intervals(data: ChartData) -> Any:
    values = [value for value in data.values if "x" in value and value["x"] is not None]
    seeds = [value for value in data.values if "seed" in value]
    axis = alt.Axis(grid=True, labelOverlap="greedy", **_ticks(data, "x", (1, 2, 5)))
    x = _x(data, "x", axis=axis)
    rows = alt.Y("row:N", sort=list(data.rows), title=None, axis=alt.Axis(labelLimit=160))
    # Rows keep their order: Vega would sort them by name.
    base = _chart(values).encode(y=rows, color=_color(data))
    rules = base.mark_rule(strokeWidth=2.5).encode(x=_x(data, "lo"), x2="hi:Q")
    tooltip = [entry for entry in _tooltip(data) if entry.shorthand != "y:Q"]
    if any("open" in value for value in values):
        tooltip[-1] = alt.Tooltip("hi:Q", title="95 % to (or more)", format=".4~g")
    means = base.mark_point(filled=True, size=130, opacity=1).encode(
        x=x, shape=_shape(data), tooltip=tooltip
    )
    layers = [*_limits(data), rules]
    for bound in (False, True):
        if found := [value for value in seeds if ("open" in value) == bound]:
            layers.append(_seed_marks(found, data, rows, bound))
    if ends := [value for value in values if "open" in value]:
        arrows = _chart(ends).mark_point(filled=True, shape="triangle-right", size=90, opacity=1)
        layers.append(arrows.encode(x=_x(data, "hi"), y=rows, color=_color(data), tooltip=tooltip))
    return alt.layer(*layers, means)


def _seed_marks(values: Sequence[Datum], data: ChartData, rows: Any, bound: bool) -> Any:
    """A tick for each seed; for a lower bound a hollow triangle that points beyond."""
    base = _chart(values)
    triangle: dict[str, Any] = {"shape": "triangle-right", "filled": False, "size": 70}
    marks = base.mark_point(**triangle) if bound else base.mark_tick(thickness=2, size=16)
    title = f"one seed{', more than' * bound}"
    return marks.encode(
        x=_x(data, "seed"), y=rows, color=_color(data), opacity=alt.value(0.75),
        tooltip=[alt.Tooltip("row:N", title="model"),
                 alt.Tooltip("seed:Q", title=title, format=".4~g")],
    )  # fmt: skip


def _scatter(data: ChartData) -> Any:
    pick = _pick()
    x, y = _axes(data)
    base = _chart(data.values).encode(color=_color(data))
    ends = [value for value in data.values if "low" in value]
    upright = _chart(ends).mark_rule(strokeWidth=1.5).encode(
        x=x, y=_y(data, "low"), y2="high:Q", color=_color(data), opacity=_fade(pick, 0.8, 0.1)
    )  # fmt: skip
    level = base.mark_rule(strokeWidth=1.5).encode(
        x=_x(data, "left"), x2="right:Q", y=y, opacity=_fade(pick, 0.8, 0.1)
    )  # fmt: skip
    points = base.mark_point(filled=True, size=150).encode(
        x=x, y=y, shape=_shape(data), opacity=_fade(pick, 1.0, 0.1), tooltip=_tooltip(data)
    )
    layers = [upright, level] if ends else [level]
    return alt.layer(*layers, points.add_params(pick))


ENDINGS = [".svg", ".png", ".pdf"]


def check_ending(path: Path) -> None:
    """UsageError for a file that is none of the pictures that can be drawn."""
    if path.suffix not in ENDINGS:
        raise UsageError(
            f"--plot {path}: not {either(ENDINGS)}", hint="for example: --plot chart.svg"
        )


def save_plot(
    result: Comparison | DiagnosticsResult | SnapshotsResult, path: Path, chart: str | None = None
) -> list[str]:
    """Draw the charts, or the `chart` of that name alone, below each other in one file.

    The ending of `path` says whether it is SVG, PNG or PDF. Returns the names of the charts.
    UsageError for another ending, a chart that does not exist or a result without any; StorageError
    when nothing can be written.
    """
    check_ending(path)
    if isinstance(result, Comparison):
        made = charts(result)
    elif isinstance(result, SnapshotsResult):
        made = snapshot_charts(result)
    else:
        made = diagnosis_charts(result)
    available = {data.name: data for data in made}
    if not available or (chart is not None and chart not in available):
        known = ", ".join(available) or "none"
        reason = "does not exist" if chart not in (None, *NAMES) else "has no data here"
        what = f"--chart {chart}" if chart is not None else f"--plot {path}"
        raise UsageError(f"{what} {reason}", hint=f"charts that can be drawn: {known}")
    names = list(available) if chart is None else [chart]
    drawn = [_svg(available[name]) for name in names]
    svg = drawn[0] if len(drawn) == 1 else _below_each_other(drawn)
    with storage.storing(path):
        path.write_bytes(_as(path.suffix, svg))
    return names


def _below_each_other(drawn: Sequence[str]) -> str:
    """One SVG picture of several. Their names of parts (clip paths) get a number, to stay apart."""
    sizes = [re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', one) for one in drawn]
    found = [(float(size[1]), float(size[2])) for size in sizes if size is not None]
    assert len(found) == len(drawn)
    width, parts, top = max(w for w, _ in found), [], 0.0
    for number, (one, (_, height)) in enumerate(zip(drawn, found, strict=True)):
        own = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>chart{number}-", one)
        parts.append(own[own.index("<svg") :].replace("<svg", f'<svg y="{top:g}"', 1))
        top += height + GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'version="1.1" width="{width:g}" height="{top - GAP:g}" '
        f'viewBox="0 0 {width:g} {top - GAP:g}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _as(suffix: str, svg: str) -> bytes:
    """A picture as one of `ENDINGS`; of pixels at twice its size, for print."""
    if suffix == ".png":
        return bytes(vl_convert.svg_to_png(svg, scale=2))
    return bytes(vl_convert.svg_to_pdf(svg)) if suffix == ".pdf" else svg.encode("utf-8")


def _svg(data: ChartData) -> str:
    return str(vl_convert.vegalite_to_svg(specification(data, page=False)))
