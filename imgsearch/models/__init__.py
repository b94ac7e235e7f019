"""The models: a picture or a text goes in, a vector or a caption comes out.

`encoder` defines what an encoder must do, `captioner` runs caption models; the other modules implement encoders, choose
a model by its name, and read what the starter model lacks: the language of a text, French, and colours.
This package imports only the foundation modules.
"""
