"""The three tabs, one module each: describe a picture, find similar pictures, search by text."""
