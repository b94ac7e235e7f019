"""The example photos, and the collection that is made of them."""

NUM_EXAMPLES = 263
