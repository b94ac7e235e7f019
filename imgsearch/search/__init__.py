"""Ranking: a query goes in, hits with a strength (strong, fair, weak) come out.

Also here: the parts of a query, the words of captions, score thresholds, near-duplicates and the map. Imports the
foundation, `models` and `index`; it knows nothing of `ingest`.
"""
