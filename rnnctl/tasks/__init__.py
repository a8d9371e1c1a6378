"""Tasks: what turns a configured model and a corpus into batches, a loss and metrics.

Why a layer of its own: training wants gradients, inference wants neither batches nor optimizers,
and both must build and load the same model from the same settings. Config objects stop here;
`nn` and `data` below take flat keyword arguments.
"""
