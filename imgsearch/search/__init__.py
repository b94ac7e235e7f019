"""The ranking: a query goes in, judged hits come out.

Here lie the parts of a query, the thresholds of scores, near-duplicates, the language of a text and the map. Imports
the foundation, `models` and `index`; it knows nothing of `ingest`.
"""
