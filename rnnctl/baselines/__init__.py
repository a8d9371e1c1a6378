"""Reference models without memory of their own making: n-grams and bags of words."""
