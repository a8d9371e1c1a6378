"""The page and the pictures; the page also in a real browser, where there is one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rnnctl.compare.report import compare, pictured
from rnnctl.errors import UsageError
from rnnctl.reports import render
from rnnctl.reports.as_markdown import as_markdown
from rnnctl.reports.blocks import KeyValues, Paragraph
from rnnctl.reports.chart_data import NAMES, SMALLEST, charts
from rnnctl.reports.charts import save_plot, specification
from rnnctl.reports.comparison import blocks, brief, title
from rnnctl.reports.numbers import DISTANCE_DIGITS, over_seeds
from rnnctl.reports.page import page
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.comparison import Comparison, Failure, Member

Grid = Callable[..., list[Member]]
OpenPage = Callable[..., tuple[Any, list[str], list[str]]]


@pytest.fixture(scope="module")
def comparison(grid: Grid) -> Comparison:
    lost = Failure(name="lost <one>", reason="killed", command="rnnctl train x")
    return compare([*grid(pairs=("agreement", "order")), _untrained(grid)], [lost])


def _untrained(grid: Grid) -> Member:
    """It remembers nothing: its horizon has no logarithm, its curve of learning one point."""
    member = grid(seeds=1, recall_seeds=0)[2]
    values = {**member.values, "horizon": Estimate(estimate=0.0, unit="words")}
    learning = Curve(x_unit="tokens", y_unit="nats", x=(1.0,), y=(3.0,))
    curves = {**member.curves, "learning": learning}
    return member.model_copy(
        update={"untrained": True, "path": "runs/untrained", "values": values, "curves": curves}
    )


def test_there_is_a_chart_for_every_question(comparison: Comparison) -> None:
    made = charts(comparison)
    assert tuple(data.name for data in made) == NAMES
    for data in made:
        assert data.values
        assert data.text.rows
        assert data.caption.endswith(".")


def test_the_table_of_a_chart_says_the_same_as_the_chart(comparison: Comparison) -> None:
    forest = next(data for data in charts(comparison) if data.name == "forest")
    means = {value["row"]: value["x"] for value in forest.values if "x" in value}
    for row in forest.text.rows:
        if row[0] == "untrained lstm":  # at the edge of the chart
            assert row[1:] == ("none measurable", "none measurable")
            continue
        assert float(row[1].split()[0]) == pytest.approx(means[row[0]], rel=0.05)
        assert len(row[2].split(", ")) == 5


def _values(result: Comparison, name: str) -> list[dict[str, Any]]:
    return [dict(value) for data in charts(result) if data.name == name for value in data.values]


def test_a_chart_names_the_runs_that_it_leaves_out(grid: Grid, tmp_path: Path) -> None:
    """With the command that measures them; runs on a bench task have charts of their own."""
    others = [one for one in grid(1, 1) if (one.cell, one.init) != ("rnn", "good") or one.bench]
    (lost,) = [one for one in grid(1, 0) if (one.cell, one.init) == ("rnn", "good")]
    kept = {"learning": lost.curves["learning"]}
    lost = lost.model_copy(update={"path": "my runs/rnn", "curves": kept, "values": {
        key: value for key, value in lost.values.items() if key != "horizon"
    }})  # fmt: skip
    result = compare([*others, lost])
    said = "Not measured for rnn good: `rnnctl diagnose 'my runs/rnn'`."
    for data in charts(result):
        assert (said in data.caption) == (data.name in ("context", "effect", "gradient", "forest"))
        assert "Not measured" not in data.caption.replace(said, "")
    coded = said.replace("`rnn", "<code>rnn").replace("`", "</code>")
    assert unescape(page(result)).count(f"{coded}</figcaption>") == 4
    assert not any("Not measured" in data.caption for data in charts(compare(grid(1, 1))))
    five = [one.model_copy(update={"curves": {}}) for one in grid(5, 0) if one.cell == "rnn"]
    made = charts(compare([*grid(5, 0)[2:3], *five]))
    (context,) = [data for data in made if data.name == "context"]
    commands = [f"`rnnctl diagnose {one.path}`" for one in five[:3]]
    assert f": {', '.join(commands)}, {len(five) - 3} more runs." in context.caption


def test_speed_and_pairs_name_the_runs_that_they_leave_out(grid: Grid) -> None:
    """No run diagnoses them: `compare` measures each for all runs at once."""
    members = [
        one.model_copy(update={"pairs": None, "speed": None}) if one.cell == "gru" else one
        for one in grid(2, 0, pairs=("agreement",))
    ]
    curves = {"attractors"}
    members = [
        one if one.pairs else one.model_copy(update={
            "curves": {key: curve for key, curve in one.curves.items() if key not in curves}})
        for one in members
    ]  # fmt: skip
    left = {data.name: data for data in charts(compare(members))}
    for name, option in (("speed", "--measure"), ("pairs", "--pairs FILE"),
                         ("attractors", "--pairs FILE")):  # fmt: skip
        said = f" Not measured for gru torch, gru good: `rnnctl compare RUN… {option}`."
        assert left[name].caption.endswith(said)
        assert not any("gru" in row for row in left[name].rows)
    full = charts(compare(grid(2, 0, pairs=("agreement",))))
    assert not any("Not measured" in data.caption for data in full)


def test_the_title_names_the_corpus_and_not_its_folder(comparison: Comparison) -> None:
    far = comparison.model_copy(update={"corpus": "/home/a/corpora/books.txt"})
    assert title(far) == "RNN, LSTM and GRU on books.txt"
    assert title(comparison) == "RNN, LSTM and GRU on paragraphs"


def test_what_has_no_logarithm_is_drawn_at_the_edge(comparison: Comparison) -> None:
    (value,) = [
        v for v in _values(comparison, "forest") if v["row"] == "untrained lstm" and "x" in v
    ]
    assert value["x"] == value["lo"] == value["hi"] == SMALLEST
    for name in ("learning", "context"):  # one point, and noise
        assert "untrained lstm" not in {value["row"] for value in _values(comparison, name)}
    for name in ("context", "gradient"):
        assert all(v["y"] > 0 and v.get("low", 1) > 0 for v in _values(comparison, name))


def test_lower_bounds_are_drawn_and_written_as_such(grid: Grid, tmp_path: Path) -> None:
    """213 words and more than 213 words are not the same, neither in grey."""
    beyond = Estimate(estimate=None, status="censored", censored_at=213.0, unit="words")

    def changed(member: Member) -> Member:
        far = member.cell == "gru" or (member.cell == "lstm" and member.seed % 2)
        values = member.values | ({"horizon": beyond} if far else {})
        return member.model_copy(update={"values": values})

    result = compare([changed(member) for member in grid(5, 0)])
    (forest,) = [data for data in charts(result) if data.name == "forest"]
    rows = {row.name: row.numbers["horizon"] for row in result.rows}
    for name, said, each in forest.text.rows:
        assert said == over_seeds(rows[name], DISTANCE_DIGITS)
        assert each.count(">") == {"r": 0, "l": 2, "g": 5}[name[0]]
    drawn = [value for value in forest.values if value["row"] == "lstm good"]
    assert next(value for value in drawn if "x" in value)["open"] == 1
    assert [("open" in value, value["seed"] == 213) for value in drawn if "seed" in value] == [
        (bool(seed % 2),) * 2 for seed in range(5)
    ]
    assert not any("x" in value for value in forest.values if value["row"] == "gru good")
    assert "a lower bound" in forest.caption
    assert "triangle-right" in json.dumps(specification(forest, page=True)["layer"])
    assert save_plot(result, tmp_path / "forest.svg", "forest") == ["forest"]
    assert (tmp_path / "forest.svg").stat().st_size > 1000
    (plain,) = [data for data in charts(compare(grid(5, 0))) if data.name == "forest"]
    assert "lower bound" not in plain.caption


def test_an_axis_has_ticks_enough_to_be_read(grid: Grid) -> None:
    """Horizons of 11 to 22 words had one: 20."""
    near = [
        one.model_copy(update={"values": {**one.values, "horizon": Estimate(
            estimate=11.0 + 11 * k, unit="words")}}) for k, one in enumerate(grid(1, 0)[:2])
    ]  # fmt: skip
    found = next(data for data in charts(compare(near)) if data.name == "forest")
    spec = json.dumps(specification(found, page=True))
    assert '"values": [12.0, 15.0, 20.0]' in spec
    values = [{"row": found.rows[0], "x": 1.5, "lo": 1.31, "hi": 1.79}]
    spec = json.dumps(specification(replace(found, values=tuple(values)), page=True))
    assert '"values": [1.4, 1.5, 1.6, 1.7]' in spec


def test_rows_of_one_cell_and_initialisation_are_told_apart(grid: Grid) -> None:
    """Two sizes of a plain RNN had the same colour, dash and shape."""
    one = next(one for one in grid(1, 0) if (one.cell, one.init) == ("rnn", "good"))
    twice = [one, one.model_copy(update={"path": "runs/large", "hidden_size": 512})]
    found = next(data for data in charts(compare(twice)) if data.name == "learning")
    assert len(found.rows) == 2
    spec = specification(found, page=True)
    (points,) = [layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"]]
    (lines,) = [layer["encoding"] for layer in spec["layer"] if "strokeDash" in layer["encoding"]]
    first, second = points["shape"]["scale"]["range"]
    assert first != second
    assert lines["strokeDash"]["scale"]["range"][0] != lines["strokeDash"]["scale"]["range"][1]


def test_bands_are_drawn_from_three_seeds_on(grid: Grid) -> None:
    for seeds, drawn in ((2, False), (3, True)):
        found = _values(compare(grid(seeds, 0)), "learning")
        assert [value for value in found if "low" in value] == (found if drawn else [])


def test_a_curve_on_a_logarithmic_axis_ends_where_it_reaches_the_floor(grid: Grid) -> None:
    curve = Curve(
        x_unit="tokens", y_unit="ratio", x=tuple(range(1, 101)), y=(1.0, 0.1) + (0.0,) * 98
    )
    member = grid(1, 0)[0]
    changed = member.model_copy(update={"curves": {"gradient": curve}})
    found = _values(compare([changed]), "gradient")
    assert [value["x"] for value in found] == [1, 2, 3]


def test_a_ratio_to_a_small_effect_does_not_squash_the_others(grid: Grid) -> None:
    """Its number stays in the table; the drawing ends at the edge."""
    wild, *others = grid(3, 0)
    curve = wild.curves["effect"]
    curve = curve.model_copy(update={"y": (*curve.y[:2], -406.0, *curve.y[3:-1], 88.0)})
    wild = wild.model_copy(update={"curves": {**wild.curves, "effect": curve}})
    result = compare([wild, *others])
    found = next(data for data in charts(result) if data.name == "effect")
    drawn = [value[name] for value in found.values for name in ("y", "low", "high")]
    assert min(drawn) == -0.5 and max(drawn) == 2.0
    beyond = [(value["x"], value["beyond"]) for value in found.values if "beyond" in value]
    assert beyond == [(curve.x[2], "below"), (curve.x[-1], "above")]
    assert "beyond the frame" in found.caption
    marks = json.dumps(specification(found, page=True)["layer"])
    assert marks.count('"arrow"') == 2 and '"angle": 180' in marks
    tame = next(data for data in charts(compare(grid(3, 0))) if data.name == "effect")
    assert "beyond" not in tame.caption
    assert '"arrow"' not in json.dumps(specification(tame, page=True)["layer"])
    assert "-135" in str(found.text.rows)
    text = render(result, "table", 80)
    sparks = text[text.index("how much early evidence") :].splitlines()
    row = next(line for line in sparks if wild.init in line and wild.cell in line)
    spark = row.split()[2]
    assert spark[0] == "▁" and spark[1] > spark[3]


def test_an_effect_is_drawn_from_near_on(grid: Grid) -> None:
    """One word back it may be 17 times that of 4 to 8 words, to which it is relative."""
    members = []
    for member in grid(3, 0):
        curve = member.curves["effect"]
        curve = curve.model_copy(update={"y": (17.0, 6.0, *curve.y[2:])})
        members.append(member.model_copy(update={"curves": {**member.curves, "effect": curve}}))
    result = compare(members)
    found = next(data for data in charts(result) if data.name == "effect")
    assert min(value["x"] for value in found.values) == 4  # type: ignore[type-var]
    assert all("beyond" not in value for value in found.values)
    assert found.caption.endswith(
        "Nearer than 4 words nothing is drawn; the table has those values."
    )
    assert found.text.rows[0][:2] == ("1", "17")
    text = render(result, "table", 80)
    spark = text[text.index("how much early evidence") :].splitlines()[1]
    assert "17" not in spark and ", 4 to 128 words" in spark
    # A classifier's is relative to evidence at the very end.
    whole = Curve(x_unit="words", y_unit="ratio", x=(0.0, 1.0, 2.0, 8.0), y=(1.0, 0.9, 0.7, 0.2))
    members = [one.model_copy(update={"curves": {"effect": whole}}) for one in grid(3, 0)]
    found = next(data for data in charts(compare(members)) if data.name == "effect")
    assert min(value["x"] for value in found.values) == 1  # type: ignore[type-var]
    assert "Nearer" not in found.caption


def test_a_curve_of_many_points_has_few_markers(grid: Grid) -> None:
    curve = Curve(
        x_unit="tokens", y_unit="ratio", x=tuple(range(1, 129)), y=tuple(0.9**k for k in range(128))
    )
    member = grid(1, 0)[0]
    found = _values(
        compare([member.model_copy(update={"curves": {"gradient": curve}})]), "gradient"
    )
    marked = [value["x"] for value in found if "mark" in value]
    assert len(found) > 100 > 14 >= len(marked) >= 6
    assert (marked[0], marked[-1]) == (found[0]["x"], found[-1]["x"])


def test_a_recall_at_several_lags_becomes_a_curve(grid: Grid) -> None:
    members = grid(seeds=1)
    near = [
        member.model_copy(update={"lag": 10, "bench": "task:recall:lag=10"})
        for member in members
        if member.bench
    ]
    (recall,) = [data for data in charts(compare([*members, *near])) if data.name == "recall"]
    assert recall.kind == "line"
    assert {value["x"] for value in recall.values} == {10, 40}


def test_each_task_has_its_own_table_and_chart_with_its_own_chance(
    grid: Grid, tmp_path: Path
) -> None:
    """Two tasks of one lag: neither takes the other's place."""
    recall = grid(seeds=1)
    order = [
        member.model_copy(
            update={"bench": "task:temporal-order:lag=40", "chance": 0.25,
                    "path": member.path + "-o",
                    "values": {"accuracy": Estimate(estimate=0.26)}}
        )
        for member in recall
        if member.bench
    ]  # fmt: skip
    few = [
        member.model_copy(
            update={"bench": "task:recall:lag=40,symbols=4", "path": member.path + "-4"}
        )
        for member in recall
        if member.bench
    ]
    result = compare([*recall, *order])
    found = {data.name: data for data in charts(result) if data.name not in NAMES[:3]}
    assert list(found) == ["recall", "temporal-order", "gradient", "speed", "forest"]
    assert [found[name].limits[0].at for name in ("recall", "temporal-order")] == [0.125, 0.25]
    assert {value["x"] for value in found["temporal-order"].values if "x" in value} == {0.26}
    assert "0.26" not in str(found["recall"].text.rows)
    text = " ".join(render(result, "table", 80).split())
    assert "Recall by distance" in text and "Temporal order by distance" in text
    assert "chance 0.125" in text and "chance 0.25" in text
    assert save_plot(result, tmp_path / "order.svg", "temporal-order")
    several = charts(compare([*recall, *few]))
    names = [data.name for data in several if "recall" in data.name]
    assert names == ["recall", "recall-symbols-4"]


def test_nothing_is_carried_by_colour_alone(comparison: Comparison) -> None:
    """Lines differ in dash, points in shape, and every row has its own."""
    for data in charts(comparison):
        text = json.dumps(specification(data, page=True))
        assert '"shape"' in text
        if data.kind == "line":
            assert '"strokeDash"' in text


def test_specifications_are_valid_json_without_holes(comparison: Comparison) -> None:
    for data in charts(comparison):
        text = json.dumps(specification(data, page=True), allow_nan=False)
        assert "http" not in re.sub(r"https://vega\.github\.io/schema/[\w./-]+", "", text)


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")]
)
def test_one_chart_or_all_are_a_picture_in_the_file_that_was_named(
    comparison: Comparison, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    path = tmp_path / f"plot{suffix}"
    for chart, names in (("forest", ["forest"]), (None, list(NAMES))):
        assert save_plot(comparison, path, chart) == names
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes().startswith(begins)


def test_charts_of_one_picture_stand_below_each_other(
    comparison: Comparison, tmp_path: Path
) -> None:
    save_plot(comparison, tmp_path / "all.svg")
    content = (tmp_path / "all.svg").read_bytes()
    assert b"lstm good" in content
    picture = ElementTree.fromstring(content)
    charts = [child for child in picture if child.tag.endswith("svg")]
    assert len(charts) == len(NAMES)
    tops = [float(chart.get("y", "nan")) for chart in charts]
    ends = [
        top + float(chart.get("height", "nan")) for top, chart in zip(tops, charts, strict=True)
    ]
    assert all(end <= top for end, top in zip(ends, tops[1:], strict=False))
    assert ends[-1] == float(picture.get("height", "nan"))
    parts = re.findall(rb'\bid="([^"]+)"', content)
    assert len(parts) == len(set(parts))
    assert set(re.findall(rb"url\(#([^)]+)\)", content)) <= set(parts)


def test_pictures_that_cannot_be_made_are_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not \.svg, \.png or \.pdf"):
        save_plot(comparison, tmp_path / "x.gif")
    with pytest.raises(UsageError, match="does not exist"):
        save_plot(comparison, tmp_path / "x.svg", "pie")
    small = comparison.model_copy(update={"bench": ()})
    with pytest.raises(UsageError, match="has no data here"):
        save_plot(small, tmp_path / "x.svg", "recall")


def test_the_report_fits_eighty_columns_and_names_everything(comparison: Comparison) -> None:
    text = render(comparison, "table", 80)
    drawn = re.compile(r"[▁▂▃▄▅▆▇█]{3}")
    wide = [line for line in text.splitlines() if len(line) > 80 and not drawn.search(line)]
    assert not wide
    for word in (
        "shown", "contradicted", "Holm", "not tested", "Terms", "lstm good",
        "not in this comparison: killed", "rnnctl diagnose", "chance 0.125",
    ):  # fmt: skip
        assert word in " ".join(text.split())


def test_markdown_and_json_hold_the_same(comparison: Comparison) -> None:
    markdown = as_markdown(blocks(comparison))
    assert "| lstm good |" in markdown
    text = render(comparison, "json")
    assert render(Comparison.model_validate_json(text), "json") == text


@pytest.fixture(scope="module")
def page_file(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(comparison), encoding="utf-8")
    return path


def test_the_page_holds_everything_and_asks_for_nothing(
    comparison: Comparison, page_file: Path
) -> None:
    html = page_file.read_text("utf-8")
    assert "default-src 'none'" in html
    without_scripts = re.sub(r"<script[^>]*>.*?</script>", "", html, flags=re.DOTALL)
    assert set(re.findall(r'(?:src|href|action)="([^"]*)"', without_scripts)) == {"data:,"}
    assert "url(" not in without_scripts
    assert without_scripts.count("lost &lt;one&gt; is not in this comparison") == 1
    data = re.search(r'id="comparison">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    kept = Comparison.model_validate_json(data.group(1))
    assert render(kept, "json") == render(comparison, "json")
    for chart in charts(comparison):
        assert f'id="chart-{chart.name}"' in html
        assert f'id="figure-{chart.name}"' in html
    assert html.count("The same as a table") == len(NAMES)


def test_the_page_begins_with_what_the_terminal_says(
    comparison: Comparison, page_file: Path
) -> None:
    """The headline and every question with its answer, in the same words and order."""
    html = page_file.read_text("utf-8")
    top = unescape(re.sub(r"<[^>]*>", " ", html[html.index("<h1>") : html.index("<h2>")]))
    said = " ".join(top.split())
    in_terminal = [block for block in brief(comparison) if isinstance(block, KeyValues)]
    (answers,) = in_terminal
    headline = brief(comparison)[1]
    assert isinstance(headline, Paragraph)
    legend = "cell and initialisation: torch begins with PyTorch's own weights; good begins with"
    assert unescape(html).count(legend) == 1
    places = [said.index(headline.text), said.index(legend)]
    places += [said.index(" ".join(f"{name} {value}".split())) for name, value in answers.pairs]
    assert places == sorted(places) and len(places) == 9


def test_a_run_of_each_cell_stands_for_the_comparison(grid: Grid) -> None:
    """Every cell, and the seed whose horizon is nearest to that of its row."""
    members = [*grid(), _untrained(grid)]
    shown = pictured(compare(members))
    found = {member.path: member for member in members}
    assert len(shown) == 4
    assert {found[path].cell for path in shown} == {"rnn", "lstm", "gru"}
    for path in shown:
        one = found[path]
        assert not one.untrained and one.bench is None
        logs = {
            other.path: math.log(other.values["horizon"].estimate or 1)
            for other in members
            if (other.cell, other.init, other.bench, other.untrained)
            == (one.cell, one.init, None, False)
        }
        middle = sum(logs.values()) / len(logs)
        assert path == min(logs, key=lambda other: abs(logs[other] - middle))


def test_names_from_users_cannot_run_in_the_page(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: "")
    bad = "</script><script>alert(1)</script>"
    members = [member.model_copy(update={"corpus": bad}) for member in grid(1, 0)]
    html = page(compare(members))
    assert "<script>alert(1)" not in html


SIZES = {
    "laptop": {"viewport": {"width": 1200, "height": 900}},
    "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}},
}


@pytest.mark.parametrize("size", list(SIZES))
def test_a_browser_draws_every_chart_silently(
    open_page: OpenPage, page_file: Path, size: str
) -> None:
    tab, said, asked = open_page(page_file, **SIZES[size])
    assert said == []
    assert asked == []
    for name in NAMES:
        marks = tab.locator(
            f"#chart-{name} svg .mark-symbol path, #chart-{name} svg .mark-line path"
        )
        assert marks.count() >= 6, name
        box = tab.locator(f"#chart-{name} svg").bounding_box()
        assert box["width"] <= SIZES[size]["viewport"]["width"]
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(overflow) <= 0
    tab.close()


def _opacity(tab: Any, name: str) -> list[float]:
    paths = f"#chart-{name} svg g.mark-line path"
    found = tab.locator(paths).evaluate_all(
        "paths => paths.map(path => +(path.getAttribute('opacity') ?? 1))"
    )
    return [round(value, 2) for value in found]


def test_a_legend_entry_leaves_its_model_alone_and_a_click_beside_brings_all_back(
    open_page: OpenPage, page_file: Path
) -> None:
    tab, said, _ = open_page(page_file, **SIZES["laptop"])
    assert set(_opacity(tab, "context")) == {1.0}
    tab.locator("#chart-context .role-legend-label text", has_text="lstm good").click()
    tab.wait_for_function(
        "[...document.querySelectorAll('#chart-context svg g.mark-line path')]"
        ".filter(path => +(path.getAttribute('opacity') ?? 1) < 0.5).length == 5"
    )
    assert sorted(set(_opacity(tab, "context"))) == [0.1, 1.0]
    assert said == []
    tab.close()


def test_pointing_at_a_mark_shows_its_numbers(open_page: OpenPage, page_file: Path) -> None:
    tab, _, _ = open_page(page_file, **SIZES["laptop"])
    point = tab.locator("#chart-forest svg g.mark-symbol.role-mark path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tab.wait_for_selector("#vg-tooltip-element.visible")
    said = tab.locator("#vg-tooltip-element").inner_text()
    assert "memory horizon" in said
    assert "95 % from" in said
    tab.close()


def test_printing_opens_every_table(open_page: OpenPage, page_file: Path) -> None:
    tab, _, _ = open_page(page_file, **SIZES["laptop"])
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details:not([open])").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details[open]").count() == 0
    tab.close()
