"""The models: a picture or a text goes in, a vector or a caption comes out.

`encoder` and `captioner` define what a model must do; the other modules implement models, and choose one by its name.
This package imports only the foundation modules.
"""
