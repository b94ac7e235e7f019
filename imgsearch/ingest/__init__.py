"""The build: read the pictures of a folder or a dataset, encode them, and write a bundle.

Imports the foundation, `models` and `index`; it knows nothing of `search`.
"""
