"""The command line: python -m imgsearch COMMAND. Arguments come in, lines or JSON go out.

Imports everything but `web`.
"""
