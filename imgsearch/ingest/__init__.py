"""The build: pictures of a folder or a dataset go in, a bundle comes out; a build that was broken off goes on.

Imports the foundation, `models` and `index`; it knows nothing of `search`.
"""
