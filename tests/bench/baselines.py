"""Compare our hub models with plain loops of their own libraries, on random weights of the real sizes.

Each measure runs in its own process, `python -m tests.bench.baselines MEASURE FOLDER`, and prints one JSON object.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import open as open_plainly

from imgsearch.config import ROOT
from imgsearch.images import open_rgb
from imgsearch.models.captioner import Captioner
from imgsearch.models.clip import LOCAL_DIR_PREFIX, ClipEncoder, ClipSpec
from imgsearch.models.loading import CLIP_WEIGHTS, CONFIG

CLIP = "ViT-B-32"  # an architecture that needs no tokenizer from the hub
NUM_PICTURES = 32
NUM_PHOTOS = 2000  # of 640 x 480 pixels
NUM_CAPTIONS = 4
NUM_TOKENS = 20
CAPTION = {"max_new_tokens": NUM_TOKENS, "min_new_tokens": NUM_TOKENS, "num_beams": 1, "do_sample": False}
SEED = 0
NUM_RUNS = 3  # of each variant, in turn; medians are compared
GRAIN = 6  # levels of noise: without it, photos that are scaled up make smaller files than a camera
NUM_WORDS = 30_524  # size of BLIP's vocabulary


def make_clip(folder: Path) -> dict[str, Any]:
    """Write a checkpoint of open_clip with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = open_clip.create_model(CLIP, load_weights=False)
    config = {"model_cfg": open_clip.get_model_config(CLIP), "preprocess_cfg": model.visual.preprocess_cfg}
    (folder / CONFIG).write_text(json.dumps(config), "utf-8")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / CLIP_WEIGHTS[0])
    return {}


def make_blip(folder: Path) -> dict[str, Any]:
    """Write a checkpoint of BLIP-base with random weights and a vocabulary of made-up words."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"word{index}" for index in range(NUM_WORDS - len(special)))]
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    config = BlipConfig(text_config={"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0})
    torch.manual_seed(SEED)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(), tokenizer).save_pretrained(folder)
    return {}


def encode_images(folder: Path) -> dict[str, Any]:
    """Measure the seconds for NUM_PICTURES: one by one in float32 as in open_clip's documentation, and by ours."""
    encode_plainly, pictures = load_plainly(folder), _pictures(NUM_PICTURES)
    encoder = ClipEncoder(ClipSpec.parse(f"{LOCAL_DIR_PREFIX}{folder}"), {"": folder})
    seconds = compare(plain=lambda: encode_plainly(pictures), ours=lambda: encoder.encode_images(pictures))
    return seconds | {"precision": encoder.precision}


def load_plainly(folder: Path) -> Callable[[Iterable[Any]], None]:
    """Return the loop of open_clip's documentation; it takes pictures, or paths, which Pillow opens."""
    import open_clip
    import torch

    model, transform = open_clip.create_model_from_pretrained(f"{LOCAL_DIR_PREFIX}{folder}")
    model.eval()

    def encode(pictures: Iterable[Any]) -> None:
        with torch.no_grad():
            for picture in pictures:
                image = open_plainly(picture) if isinstance(picture, Path) else picture
                features = model.encode_image(transform(image).unsqueeze(0))
                features /= features.norm(dim=-1, keepdim=True)

    return encode


def overlap(folder: Path) -> dict[str, Any]:
    """Measure the mean share of common pictures among the ten nearest of each example photo: ours and float32."""
    spec = ClipSpec.parse(f"{LOCAL_DIR_PREFIX}{folder}")
    pictures = [open_rgb(path) for path in sorted((ROOT / "examples").glob("*/*.jpg"))]
    encoders = (ClipEncoder(spec, {"": folder}, precision=precision) for precision in ("auto", "float32"))
    ours, exact = (encoder.encode_images(pictures) for encoder in encoders)
    nearest = [np.argsort(-(vectors @ vectors.T), axis=1)[:, :10] for vectors in (ours, exact)]
    shares = [len({*of_ours} & {*of_exact}) / 10 for of_ours, of_exact in zip(*nearest, strict=True)]
    return {"overlap": float(np.mean(shares))}


def caption_plainly(folder: Path) -> dict[str, Any]:
    """Write NUM_CAPTIONS greedy captions of NUM_TOKENS with a plain float32 `generate`; return them and the seconds."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)

    def write(picture: Any) -> str:
        ids = model.generate(**processor(images=picture, return_tensors="pt"), **CAPTION)
        return str(processor.decode(ids[0], skip_special_tokens=True)).strip()

    return _captions(write)


def caption(folder: Path) -> dict[str, Any]:
    """Do the same with our captioner, also in its own process: torch gets slower once two threads have used it."""
    captioner = Captioner("blip", folder)
    texts = _captions(lambda picture: list(captioner.write(partial(captioner.read, picture), CAPTION))[-1])
    return texts | {"precision": captioner.precision}


def load_clip(folder: Path) -> dict[str, Any]:
    """Measure by how many times the size of the weights file VmHWM grows while the encoder loads."""
    import open_clip  # noqa: F401

    return {"growth": _growth(lambda: ClipEncoder(ClipSpec.parse(f"{LOCAL_DIR_PREFIX}{folder}"), {"": folder}), folder)}


def load_blip(folder: Path) -> dict[str, Any]:
    """Measure by how many times the size of the weights file VmHWM grows while the captioner loads."""
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

    return {"growth": _growth(lambda: Captioner("blip", folder), folder)}


def _pictures(count: int) -> list[Any]:
    return [open_rgb(path) for path in islice(sorted((ROOT / "examples" / "stamps").glob("*.jpg")), count)]


def make_pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write `count` JPEGs of this size (width, height) from random parts of the larger example photos."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    photos = [open_rgb(path) for path in sorted((ROOT / "examples").glob("*/*.jpg")) if path.parent.name != "stamps"]
    for index in range(count):
        photo = photos[rng.integers(len(photos))]
        part = np.multiply(photo.size, rng.uniform(0.5, 1))
        corner = rng.uniform(0, np.subtract(photo.size, part))
        pixels = np.asarray(photo.resize(size, box=(*corner, *(corner + part))), np.int16)
        grain: npt.NDArray[Any] = rng.integers(-GRAIN, GRAIN + 1, (*pixels.shape[:2], 1), np.int8)
        Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(folder / f"{index:05}.jpg", quality=85)
    return sorted(folder.iterdir())


def _captions(write: Callable[[Any], str]) -> dict[str, Any]:
    pictures = _pictures(NUM_CAPTIONS)
    write(pictures[0])
    start = time.perf_counter()
    texts = [write(picture) for picture in pictures]
    return {"texts": texts, "seconds": time.perf_counter() - start}


def compare(num_runs: int = NUM_RUNS, **variants: Callable[[], Any]) -> dict[str, float]:
    """Return the median seconds of each variant. They run in turn; a first run of each does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(1 + num_runs):
        for name, measure in variants.items():
            start = time.perf_counter()
            measure()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main(measures: Iterable[Callable[[Path], dict[str, Any]]]) -> None:
    """Run the measure that the command line names and print its result."""
    print(json.dumps({measure.__name__: measure for measure in measures}[sys.argv[1]](Path(sys.argv[2]))))


def _growth(load: Callable[[], Any], folder: Path) -> float:
    before = memory("VmHWM")
    model = load()
    after = memory("VmHWM")
    del model
    return (after - before) / sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def memory(field: str) -> int:
    """Return a field of this process's status, such as VmHWM, in bytes."""
    status = Path(f"/proc/{os.getpid()}/status").read_text("ascii")
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


MEASURES = (make_clip, make_blip, encode_images, overlap, caption_plainly, caption, load_clip, load_blip)

if __name__ == "__main__":
    main(MEASURES)
