"""Recurrent layers, models and the engines that run them: tensors in, tensors out.

Why: one place for each cell's mathematics (`cells`), from which training, diagnostics and tests
all follow; engines differ in speed only. Using a model needs no gradients and no padding, so it has
two ways of its own: `stepping` makes one token at a time, `reading` takes many texts side by side.
No files and no config objects here.
"""
