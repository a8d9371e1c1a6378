"""A comparison as one self-contained page: works offline, on a phone, on paper, light and dark.

The libraries that draw (Vega, Vega-Lite, Vega-Embed) are bundled into the page, and its content
security policy forbids every request. Each chart is followed by the table that says the same, so
nothing is lost without JavaScript, without colours or without eyes.
"""

from __future__ import annotations

import json

from rnnctl.reports import comparison as terms
from rnnctl.reports.as_html import as_html, table_html, text
from rnnctl.reports.blocks import Block, Bullets, Chart, Heading
from rnnctl.reports.chart_data import ChartData, charts
from rnnctl.reports.charts import specification
from rnnctl.results.comparison import Comparison, Verdict

SNIPPET = "window.vegaEmbed = vegaEmbed; window.vega = vega;"
"""What the bundle of libraries leaves behind for the page's own script."""
MARKS = {"shown": "✓", "contradicted": "✗", "inconclusive": "?", "not tested": "–"}

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    # Vega compiles its expressions, hence eval; nothing can be loaded from anywhere.
    "script-src 'unsafe-inline' 'unsafe-eval'; img-src data:; base-uri 'none'; form-action 'none'"
)


def page(result: Comparison) -> str:
    """The whole page as HTML."""
    import vl_convert

    drawn = charts(result)
    title = terms.title(result)
    specs = {data.name: specification(data, page=True) for data in drawn}
    return TEMPLATE.format(
        policy=POLICY,
        style=STYLE,
        title=text(title),
        verdicts="\n".join(_verdict(verdict) for verdict in result.verdicts),
        facts=as_html(terms.facts(result)),
        charts="\n".join(_figure(data) for data in drawn),
        tables=as_html(_tables(result)),
        library=vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script"),
        specs=_json(specs),
        script=SCRIPT,
        version=text(result.environment.rnnctl),
        data=_json(json.loads(result.model_dump_json())),
    )


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def _verdict(verdict: Verdict) -> str:
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
        f"</div><figcaption>{text(data.caption)}</figcaption>"
        f"<details><summary>The same as a table</summary>{table_html(data.text)}</details></figure>"
    )


def _tables(result: Comparison) -> list[Block]:
    skipped = ("Verdicts", "Curves", "What the verdicts rest on")
    made: list[Block] = []
    keep = True
    for block in terms.blocks(result)[2:]:
        if isinstance(block, Heading):
            keep = block.text not in skipped
        if keep and not isinstance(block, Chart):
            made.append(block)
    return made + terms.problems(result)


STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #5c5c66; --paper: #ffffff;
  --card: #f5f5f7; --line: #d5d5dc; --yes: #0a7a3d; --no: #b3261e; --open: #6b5b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ed; --soft: #a5a5b0; --paper: #16161a;
  --card: #222228; --line: #3a3a44; --yes: #5fd38d; --no: #ff8a80; --open: #e6c84a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.45;
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.4rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.7rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 0 0 0.4rem; }
p.note, caption, figcaption, footer, dt { color: var(--soft); font-size: 0.88rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0; }
dd { margin: 0; font-size: 0.92rem; }
.verdict { background: var(--card); border-left: 5px solid var(--open); border-radius: 4px;
  margin: 0.4rem 0; padding: 0.45rem 0.8rem; }
.verdict.shown { border-color: var(--yes); } .verdict.contradicted { border-color: var(--no); }
.verdict.not-tested { border-color: var(--line); } .not-tested .outcome { color: var(--soft); }
.verdict summary { cursor: pointer; display: flex; flex-wrap: wrap; column-gap: 0.6rem;
  align-items: baseline; }
.verdict .claim { flex: 1; font-weight: 600; }
.verdict .mark { width: 1.1em; text-align: center; font-weight: 700; }
.verdict .because { flex-basis: 100%; margin-left: 1.7em; color: var(--soft); font-size: 0.88rem;
  overflow-wrap: anywhere; }
.verdict[open] .because { display: none; }
.outcome { font-weight: 700; color: var(--open); white-space: nowrap; }
.shown .outcome { color: var(--yes); } .contradicted .outcome { color: var(--no); }
.verdict li { font-size: 0.92rem; overflow-wrap: anywhere; }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0; background: var(--card); border-radius: 6px; padding: 0.8rem; min-width: 0; }
.chart { width: 100%; color: var(--ink); } .chart svg { max-width: 100%; }
figcaption { margin: 0.3rem 0; }
details > summary { cursor: pointer; }
figure summary { font-size: 0.88rem; }
.scroll { overflow-x: auto; margin: 0.5rem 0; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding-top: 0.3rem; }
th, td { padding: 0.25rem 0.7rem; vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tbody tr:nth-child(even) { background: color-mix(in srgb, var(--line) 30%, transparent); }
tbody th { font-weight: 600; white-space: nowrap; }
td { white-space: nowrap; }
pre { overflow-x: auto; background: var(--card); padding: 0.6rem; }
p.warning { border-left: 4px solid var(--no); padding-left: 0.7rem; }
#vg-tooltip-element { font: 13px system-ui, sans-serif; }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --card: #fff; --line: #bbb; --yes: #000;
    --no: #000; --open: #000; color-scheme: light; }
  main { max-width: none; padding: 0; } .scroll { overflow: visible; }
  body { font-size: 10.5pt; } th, td { padding: 0.1rem 0.6rem; }
  .figures { display: block; } .chart, .verdict, tr { break-inside: avoid; }
  h3, figcaption, summary { break-after: avoid; }
  figure { border: 1px solid var(--line); margin-bottom: 1rem; } h2 { break-after: avoid; }
  td { white-space: normal; } table { font-size: 8.5pt; } .chart svg { height: auto; }
}
"""

SCRIPT = """
const specs = JSON.parse(document.getElementById("specs").textContent);
window.views = {};
window.ready = Promise.all(Object.entries(specs).map(async ([name, spec]) => {
  const box = document.getElementById("chart-" + name);
  const made = await vegaEmbed(box, spec, {renderer: "svg", actions: false, tooltip: {theme:
    matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"}});
  window.views[name] = made.view;
}));
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
"""

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
{facts}
<h2>Verdicts</h2>
{verdicts}
<h2>Charts</h2>
<p class="note">Point at a mark for its numbers; choose a model in a legend to see it alone,
click beside the legend to see all again.</p>
<div class="figures">
{charts}
</div>
{tables}
<footer><p>Made by rnnctl {version}. This page holds all its numbers as JSON in the element
“comparison”, and loads nothing.</p></footer>
</main>
<script type="application/json" id="comparison">{data}</script>
<script type="application/json" id="specs">{specs}</script>
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""
