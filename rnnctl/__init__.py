"""rnnctl: train, use and compare recurrent text models, and measure what they remember."""

__version__ = "0.1.0"
