"""Using a run: sampling, continuing, scoring and classifying text, as long-lived filters.

Why: every command that reads text line by line shares one way in (`lines`: what is readable now, by
a thread, in bounded memory; `records`: plain text or JSON, every defect an error of its own line)
and differs only in what it answers. What is heavy starts late: a first answer needs PyTorch and the
run, nothing else (`engine`). A recurrent model's whole past is a few kilobytes, so it is a file
(`state`). Sampling is numpy on logits, with the order of Hugging Face's filters; a stream's random
numbers depend on the seed and its own number only, so that more streams change none.
"""
