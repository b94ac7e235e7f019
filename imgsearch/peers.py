"""What the hub models are measured against: the libraries' own plain loops, over random weights of the real sizes.

Each measure runs in a process of its own, `python -m imgsearch.peers MEASURE FOLDER`, and prints one JSON object.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from imgsearch.captioner import HubCaptioner
from imgsearch.checkpoints import CLIP_WEIGHTS, CONFIG
from imgsearch.config import ROOT
from imgsearch.encoder import LOCAL, ClipEncoder, ClipSpec
from imgsearch.images import open_rgb

CLIP = "ViT-B-32"  # of the architectures that need no tokenizer from the hub
NUM_PICTURES = 32
NUM_CAPTIONS = 4
NUM_TOKENS = 20
NUM_RUNS = 3  # of each side, alternating; medians are compared
NUM_WORDS = 30_524  # in BLIP's vocabulary


def make_clip(folder: Path) -> dict[str, Any]:
    """Write a checkpoint of open_clip."""
    import open_clip
    from safetensors.torch import save_file

    model = open_clip.create_model(CLIP, load_weights=False)
    config = {"model_cfg": open_clip.get_model_config(CLIP), "preprocess_cfg": model.visual.preprocess_cfg}
    (folder / CONFIG).write_text(json.dumps(config), "utf-8")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / CLIP_WEIGHTS[0])
    return {}


def make_blip(folder: Path) -> dict[str, Any]:
    """Write a checkpoint of BLIP-base, with a vocabulary of made-up words."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"word{number}" for number in range(NUM_WORDS - len(special)))]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    config = BlipConfig(text_config={"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(), tokenizer).save_pretrained(folder)
    return {}


def encode_images(folder: Path) -> dict[str, Any]:
    """Seconds for NUM_PICTURES: one by one in float32 as open_clip's documentation does, and by ours."""
    import open_clip
    import torch

    name = f"{LOCAL}{folder}"
    pictures = _pictures(NUM_PICTURES)
    model, transform = open_clip.create_model_from_pretrained(name)
    encoder = ClipEncoder(ClipSpec.parse(name), {})

    def plain() -> None:
        with torch.no_grad():
            for picture in pictures:
                features = model.eval().encode_image(transform(picture).unsqueeze(0))
                features /= features.norm(dim=-1, keepdim=True)

    return _compare(plain, lambda: encoder.encode_images(pictures)) | {"precision": encoder.precision}


def write_captions(folder: Path) -> dict[str, Any]:
    """Seconds for NUM_CAPTIONS greedy ones of NUM_TOKENS: by a plain float32 `generate`, and by ours; equal words."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    pictures = _pictures(NUM_CAPTIONS)
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    captioner = HubCaptioner("blip", folder)
    options = {"max_new_tokens": NUM_TOKENS, "min_new_tokens": NUM_TOKENS, "num_beams": 1, "do_sample": False}

    def plain() -> list[str]:
        ids = [model.generate(**processor(images=picture, return_tensors="pt"), **options) for picture in pictures]
        return [processor.decode(caption[0], skip_special_tokens=True).strip() for caption in ids]

    def ours() -> list[str]:
        return [list(captioner.write(captioner.read(picture), options))[-1] for picture in pictures]

    equal = sum(one == other for one, other in zip(plain(), ours(), strict=True))
    return _compare(plain, ours) | {"precision": captioner.precision, "equal": equal / len(pictures)}


def load_clip(folder: Path) -> dict[str, Any]:
    """By how many times the weights file VmHWM grows while the encoder loads."""
    import open_clip  # noqa: F401

    return {"growth": _growth(lambda: ClipEncoder(ClipSpec.parse(f"{LOCAL}{folder}"), {}), folder)}


def load_blip(folder: Path) -> dict[str, Any]:
    """By how many times the weights file VmHWM grows while the captioner loads."""
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

    return {"growth": _growth(lambda: HubCaptioner("blip", folder), folder)}


def _pictures(count: int) -> list[Any]:
    return [open_rgb(path) for path in islice(sorted((ROOT / "examples" / "stamps").glob("*.jpg")), count)]


def _compare(plain: Callable[[], Any], ours: Callable[[], Any]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for measure in (plain, ours):
        measure()
    for _ in range(NUM_RUNS):
        for name, measure in (("plain", plain), ("ours", ours)):
            start = time.perf_counter()
            measure()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _growth(load: Callable[[], Any], folder: Path) -> float:
    before = _high_water()
    model = load()
    after = _high_water()
    del model
    return (after - before) / sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _high_water() -> int:
    """VmHWM in bytes."""
    status = Path(f"/proc/{os.getpid()}/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


MEASURES = (make_clip, make_blip, encode_images, write_captions, load_clip, load_blip)

if __name__ == "__main__":
    print(json.dumps({measure.__name__: measure for measure in MEASURES}[sys.argv[1]](Path(sys.argv[2]))))
