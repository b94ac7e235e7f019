"""The command line: python -m imgsearch COMMAND. Reads arguments, prints lines or JSON.

Imports everything but `web`.
"""
