"""Recurrent layers, models and the engines that run them: tensors in, tensors out.

Why: one place for each cell's mathematics (`cells`), from which training, diagnostics and tests
all follow; engines differ in speed only. No files and no config objects here.
"""
