"""The models: a picture or a text goes in, a vector or a caption comes out.

`encoder` and `captioner` define what a model must do; the other modules implement models, choose one by its name, and
read what the starter model lacks: the language of a text, French, and colours.
This package imports only the foundation modules.
"""
