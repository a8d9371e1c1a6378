"""Reports as self-contained pages: they work offline, on a phone, on paper, light and dark.

A page is one file, whose content security policy forbids every request. Its style and its own
script are `page.css` and `page.js`; a comparison also carries the libraries that draw its charts
(Vega, Vega-Lite, Vega-Embed). Each chart is followed by the table that says the same, so nothing is
lost without JavaScript, without colours or without eyes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

from rnnctl import __version__
from rnnctl.reports import Page, blocks_of
from rnnctl.reports import comparison as terms
from rnnctl.reports import diagnostics as diagnosed
from rnnctl.reports import pictures as seen
from rnnctl.reports.as_html import as_html, inline, table_html, text
from rnnctl.reports.blocks import Block, Bullets, Chart, Heading
from rnnctl.reports.chart_data import ChartData, charts
from rnnctl.results.base import Result
from rnnctl.results.comparison import Comparison, Verdict
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.results.pictures import Pictures

SNIPPET = "window.vegaEmbed = vegaEmbed; window.vega = vega;"
"""What the bundle of libraries leaves behind for the page's own script."""
QUALITY = "Quality and memory"
MARKS = {"shown": "✓", "contradicted": "✗", "inconclusive": "?", "not tested": "–"}

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'{more}; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
COMPILES = " 'unsafe-eval'"
"""For Vega, which compiles its expressions; nothing can be loaded from anywhere all the same."""


def render(result: Result, on: Page) -> str:
    """Any result as a page: a comparison or a diagnosis with its pictures, others as reported."""
    match result:
        case Comparison():
            return page(result, on.pictures)
        case DiagnosticsResult():
            return diagnosis(result, on.pictures)
        case Pictures():
            return diagnosis(None, result)
    blocks = blocks_of(result)
    title, rest = "rnnctl", blocks
    if blocks and isinstance(blocks[0], Heading):
        title, rest = blocks[0].text, blocks[1:]
    data = {"result": json.loads(result.model_dump_json())}
    return document(title, as_html(rest), data, version=result.environment.rnnctl)


def document(
    title: str, body: str, data: Mapping[str, object], *, version: str, library: str = ""
) -> str:
    """A whole page: `body` is HTML, made of escaped text by whoever calls.

    `data`: JSON for scripts, by the id of the element that holds it; `library`: a script that runs
    before the page's own one.
    """
    held = ", ".join(f"“{name}”" for name in data)
    # As data and not as script: a browser runs nothing of it, whatever texts and labels contain.
    scripts = [
        f'<script type="application/json" id="{name}">{_json(value)}</script>'
        for name, value in data.items()
    ]
    # In a function of its own: the libraries leave short names behind.
    for code in (library, f"(() => {{\n{_resource('page.js')}}})();"):
        if code:
            # A script ends at the first such tag, wherever in it that stands.
            scripts.append("<script>" + code.replace("</script", "<\\/script") + "</script>")
    return TEMPLATE.format(
        policy=POLICY.format(more=COMPILES if library else ""),
        style=_resource("page.css"),
        title=text(title),
        body=body,
        version=text(version),
        held=held,
        scripts="\n".join(scripts),
    )


def _resource(name: str) -> str:
    return (files("rnnctl.reports") / name).read_text(encoding="utf-8")


def page(result: Comparison, pictures: Pictures | None = None) -> str:
    """A comparison as a page, with the pictures of some of its runs where there are any."""
    import vl_convert

    from rnnctl.reports.charts import specification  # other pages need no altair

    drawn = charts(result)
    specs = {data.name: specification(data, page=True) for data in drawn}
    parts = [
        as_html(terms.in_short(result)),
        as_html([*terms.problems(result), *terms.facts(result, names=False)]),
        "<h2>Verdicts</h2>",
        *(_verdict(verdict) for verdict in result.verdicts),
        as_html([Heading(QUALITY), terms.main_table(result)]),
        seen.sections(pictures) if pictures is not None else "",
        CHARTS.format(charts="\n".join(_figure(data) for data in drawn)),
        as_html(_tables(result)),
        seen.terms(pictures) if pictures is not None else "",
    ]
    data: dict[str, object] = {"comparison": json.loads(result.model_dump_json()), "specs": specs}
    if pictures is not None:
        data["pictures"] = seen.data(pictures)
    return document(
        terms.title(result),
        "\n".join(parts),
        data,
        version=result.environment.rnnctl,
        library=vl_convert.javascript_bundle(SNIPPET),
    )


def diagnosis(result: DiagnosticsResult | None, pictures: Pictures | None) -> str:
    """What a run remembers, measured and to be seen, as a page; one of the two may be missing."""
    parts: list[str] = []
    data: dict[str, object] = {}
    if result is not None:
        parts += [
            as_html(diagnosed.brief(result)[1:-1]),  # the last line is about the terminal
            "<details><summary>Everything that was measured</summary>",
            as_html(list(diagnosed.blocks(result))[1:]),
            "</details>",
        ]
        data["diagnosis"] = json.loads(result.model_dump_json())
    if pictures is not None:
        parts += [seen.sections(pictures), seen.terms(pictures)]
        data["pictures"] = seen.data(pictures)
    title = f"What {result.model.id} remembers" if result is not None else ""
    if pictures is not None and (result is None or len(pictures.runs) > 1):
        title = seen.title(pictures)
    return document(title, "\n".join(parts), data, version=__version__)


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def _verdict(verdict: Verdict) -> str:
    # A sign and a word beside the colour, which print and many eyes do not have.
    css = verdict.outcome.replace(" ", "-")
    return (
        f'<details class="verdict {css}"><summary><span class="mark" aria-hidden="true">'
        f'{MARKS[verdict.outcome]}</span> <span class="claim">{text(verdict.claim)}</span> '
        f'<span class="outcome">{text(verdict.outcome)}</span>'
        f'<span class="because">{text(terms.because(verdict))}</span></summary>'
        f"{as_html([Bullets(terms.reasons(verdict))])}</details>"
    )


def _figure(data: ChartData) -> str:
    return (
        f'<figure id="figure-{data.name}"><h3>{text(data.title)}</h3>'
        f'<div class="chart" id="chart-{data.name}" role="img" '
        f'aria-label="{text(data.title)}: {text(data.caption)} The numbers follow as a table.">'
        f"</div><figcaption>{inline(data.caption)}</figcaption>"
        f"<details><summary>The same as a table</summary>{table_html(data.text)}</details></figure>"
    )


def _tables(result: Comparison) -> list[Block]:
    """What the report has beyond the parts that the page shows in its own way."""
    skipped = ("Verdicts", QUALITY, "Curves", "What the verdicts rest on")
    made: list[Block] = []
    keep = True
    problems = len(terms.problems(result))  # the page begins with them
    rest = terms.blocks(result)[2:]
    for block in rest[: len(rest) - problems]:
        if isinstance(block, Heading):
            keep = block.text not in skipped
        if keep and not isinstance(block, Chart):
            made.append(block)
    return made


CHARTS = """<h2>Charts</h2>
<p class="note">Point at a mark for its numbers; choose a model in a legend to see it alone,
click outside the legend to see all again.</p>
<div class="figures">
{charts}
</div>"""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
<footer><p>Made by rnnctl {version}. This page holds all its numbers as JSON
({held}), and loads nothing.</p></footer>
</main>
{scripts}
</body>
</html>
"""
