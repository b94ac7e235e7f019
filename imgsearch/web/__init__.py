"""The web page: three Gradio tabs, the server that runs them, and `security`, which limits what strangers can do.

It turns requests into calls of `Engine` and shows the results. May import every package except `cli` and `ingest`.
"""
