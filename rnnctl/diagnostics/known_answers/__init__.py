"""Models with known answers, measured by the code that measures users' models (GT01 to GT21).

DIAGNOSTICS.md part 6. Each file holds the checks of one group; `run_all` runs them.
"""
