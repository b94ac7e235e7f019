"""The example photos, and the collection that is made of them."""

NUM_EXAMPLES = 263
BIRDS = {
    *(f"animals/{name}.jpg" for name in ("chinstrap_penguin", "hens", "kingfisher", "owl_on_branch", "parrot")),
    *("animals/swans.jpg", "animals/toucan.jpg", "faces/hummingbird.jpg", "puzzles/kookaburra.jpg"),
    *(f"stamps/animals-birds-{name}.jpg" for name in ("duck", "gander", "helmeted_guineafowl", "nandou", "owl")),
    *(f"stamps/animals-birds-{name}.jpg" for name in ("penguin", "pigeon", "rooster", "turkey", "vulture")),
    "wallpapers/toy_bird.jpg",
}
