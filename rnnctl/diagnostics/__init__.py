"""Measurements of what a model remembers: one module per question, each with `measure`."""
