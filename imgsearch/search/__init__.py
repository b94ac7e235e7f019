"""Ranking: a query goes in, hits with a strength (strong, fair, weak) come out.

Also here: the parts of a query, score thresholds, near-duplicates, the language of a text and the map. Imports the
foundation, `models` and `index`; it knows nothing of `ingest`.
"""
