"""The example photos, and the collection that is made of them."""

NUM_EXAMPLES = 263
CATS = {  # large ones, too
    *(f"animals/{name}.jpg" for name in ("cheetah", "kitten", "kitten_with_wool")),
    *("faces/cat_profile.jpg", "puzzles/grey_cat.jpg", "puzzles/tiger_in_snow.jpg", "skimage/chelsea.jpg"),
}
