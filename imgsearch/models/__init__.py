"""The models: a picture or a text goes in, a vector or a caption comes out.

`encoder` and `captioner` say what a model must do; the other modules are the models that do it, and how one is chosen
by its name. Imports the foundation modules only.
"""
