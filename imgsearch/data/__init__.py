"""The data that comes with the package: the vocabulary, ImageNet's labels, queries to calibrate by. No code."""
