"""Descriptions without a captioner: a picture's vector goes in, tags and one sentence come out.

This package imports only the foundation modules and `models`.
"""
