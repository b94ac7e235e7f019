"""The three tabs: describe a picture, find similar ones, search by text; one file each."""
