"""The searchable bundle: vectors, items and a manifest in a folder; opened, searched, written, edited, fetched.

Comes in: vectors with their items. Goes out: an `Index` that answers with rows. Imports the foundation and `models`.
"""
