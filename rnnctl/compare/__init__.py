"""Fair comparison of cells: plan, train, measure, summarise over seeds, decide.

Why: which cell remembers more, is better or faster is a question about cells, not about one
training; so members that differ in their seed alone are the unit, everything else is held equal
and recorded, and what would be claimed, and when, is fixed in `verdicts` before there is data.
"""
