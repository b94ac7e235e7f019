"""Compare speed and memory of the hub's models, with random weights, to plain loops of their own libraries."""

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

from tests.bench.app import NUM_RUNS
from tests.bench.baselines import NUM_CAPTIONS, NUM_PICTURES
from tests.bench.figures import Figure, run_trial


def bench_encoder() -> Iterator[Figure]:
    """Measure the encoder: speed, agreement with float32, memory while loading."""
    with tempfile.TemporaryDirectory() as folder:
        run_trial("make_clip", folder)
        speed, memory = run_trial("encode_images", folder), run_trial("load_clip", folder)
        overlap = run_trial("overlap", folder)["overlap"]
    name = f"ViT-B-32 pictures in {speed['precision']}, over open_clip's loop in float32"
    yield Figure(name, speed["plain"] / speed["ours"], "x", 3.5, is_floor=True)
    yield Figure("the ten nearest of each example photo, equal to float32's", overlap, "share", 0.99, is_floor=True)
    yield Figure("1,000 pictures by it", 1000 / NUM_PICTURES * speed["ours"], "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 2.1)


def bench_captioner() -> Iterator[Figure]:
    """Measure the captioner: speed, agreement with float32, memory while loading."""
    runs: dict[str, list[dict[str, Any]]] = {"caption_plainly": [], "caption": []}
    with tempfile.TemporaryDirectory() as folder:
        run_trial("make_blip", folder)
        for _ in range(NUM_RUNS):
            for name, measured in runs.items():
                measured.append(run_trial(name, folder))
        memory = run_trial("load_blip", folder)
    plain, ours = (statistics.median(run["seconds"] for run in measured) for measured in runs.values())
    texts = (" ".join(runs[name][0]["texts"]).split() for name in runs)
    equal = statistics.fmean(plain_word == our_word for plain_word, our_word in zip(*texts, strict=True))
    name = f"BLIP-base captions in {runs['caption'][0]['precision']}, over plain float32 generate"
    yield Figure(name, plain / ours, "x", 2.5, is_floor=True)
    yield Figure("words equal to float32's; of random weights many nearly tie", equal, "share")
    yield Figure("a caption of 20 tokens by it", ours / NUM_CAPTIONS, "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 1.6)
