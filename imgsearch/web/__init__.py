"""The page: three tabs drawn by Gradio, the server around them, and what keeps strangers' requests within bounds.

Requests come in, answers of the engines go out. Imports everything but `cli` and `ingest`.
"""
