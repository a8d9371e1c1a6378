"""The training loop: a generator of events over one object that can be saved and loaded.

Why a generator and not a trainer with callbacks: whoever wants a progress bar, a log or a
checkpoint listens to the events in an ordinary `for` loop, sees them in order, and the loop itself
stays a page long. Everything that the loop carries stands in `TrainingState`; what is not in it
cannot influence a later step, which is what makes an exact resume possible.
"""
