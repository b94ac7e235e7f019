"""A bundle is a folder with vectors, items and a manifest. This package opens, searches, writes, edits and fetches it.

Input: vectors with their items. Output: an `Index`, which returns hits. Imports the foundation and `models`.
"""
