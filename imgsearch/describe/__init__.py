"""Descriptions without a captioner: a picture's vector goes in, tags and one sentence come out.

Imports the foundation and `models`.
"""
