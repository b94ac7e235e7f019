"""Limits for strangers: which requests are let in, how often, how large, and how their pictures are decoded.

Decode workers import this package too, so this file imports nothing and `decoder` does not import Gradio.
"""
