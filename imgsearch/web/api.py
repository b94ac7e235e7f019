"""`ApiBlocks`: a page whose *Use via API* explains the endpoints in plain words, with calls that work as they stand."""

from typing import Any

import gradio as gr

PICTURE = "examples/skimage/coffee.jpg"
FOUND = ("answer", "summary", "cards", "link", "scores")
ENDPOINTS = {  # what each does, and the names of its results
    "/describe": ("Describe a picture.", ("description", "tags", "time", "colours")),
    "/similar": ("Find the pictures of a collection that are most similar to a picture.", FOUND),
    "/search": ("Find the pictures of a collection that fit a text.", FOUND),
}
PARAMETERS = {
    "image": "Picture",
    "text": "What to search for",
    "k": "Number of hits, at most 50",
    "collection": "Collection",
    "box": "Part of the picture: left, top, right, bottom in percent, such as 30, 10, 70, 60",
    "where": "Filters, such as subject=animals",
    "fold": "Fold near-duplicates into one",
    "detail": "A short or a detailed description, for models that write both",
    "question": "Question about the picture, for models that answer some",
    "language": "Language of the answer",
}
EXAMPLES = {"image": {"path": PICTURE, "url": PICTURE, "meta": {"_type": "gradio.FileData"}}, "text": "a red fruit"}


class ApiBlocks(gr.Blocks):
    """A `gr.Blocks` that describes its API by the words above: its labels are translated only in the page."""

    def get_api_info(self, *args: Any, **options: Any) -> Any:
        """Return Gradio's description of the public endpoints with these words, names and examples."""
        info = super().get_api_info(*args, **options)
        for endpoint, about in info["named_endpoints"].items():
            about["description"], results = ENDPOINTS[endpoint]
            for returned, name in zip(about["returns"], results, strict=True):
                returned["label"] = name
            for parameter in about["parameters"]:
                name, kind = parameter["parameter_name"], parameter["python_type"]
                parameter["label"] = PARAMETERS[name]
                parameter["example_input"] = EXAMPLES.get(name, parameter["parameter_default"])
                kind["type"] = kind["type"].replace("Literal[]", "str")  # of a menu that is filled later
        return info
