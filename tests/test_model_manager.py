"""Which models answer: at hand, from the hub, or the starter until then. Real clients, real HTTP, tiny checkpoints."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from imgsearch.describe.describer import Describer
from imgsearch.engine import Engine
from imgsearch.errors import BundleError, InputError, ModelError, SettingsError
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.model_manager import FAILED, ModelManager
from imgsearch.models.encoder import STARTER_ID
from imgsearch.models.registry import load_encoder
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.loopback_hub import Corrupt, Hang, LoopbackHub, Slow, Status

SIGLIP, BLIP = "timm/ViT-B-32-SigLIP2-256", "Salesforce/blip-image-captioning-base"
SIGLIP_ID = "ViT-B-32-SigLIP2-256/webli"


@pytest.fixture(scope="module")
def words(engine: Engine, own_cache: Path) -> list[Path]:
    """What the starter, which all tests share, has worked out of its words."""
    Describer(engine.models.current.encoder, own_cache).preload()
    return sorted(own_cache.glob("vocabulary-*"))


@pytest.fixture
def full_hub(hub: LoopbackHub, tiny: Path, empty_cache: Path, words: list[Path]) -> LoopbackHub:
    """A hub with tiny models in the place of the two that `auto` wants, and a cache without any."""
    empty_cache.mkdir(parents=True)
    for path in words:
        shutil.copy(path, empty_cache)
    hub.add(SIGLIP, tiny / "siglip")
    hub.add(BLIP, tiny / "blip")
    hub.add("tiny/clip", tiny / "clip")
    return hub


@pytest.fixture
def foreign(full_hub: LoopbackHub, folder: Path, tmp_path: Path) -> Path:
    """A bundle that the tiny CLIP of the hub has made."""
    build_index(Folder(folder), tmp_path / "foreign", load_encoder("hf-hub:tiny/clip"))
    return tmp_path / "foreign"


def served(bundle: Path, encoder: str = "auto", captioner: str = "auto") -> Engine:
    """Return an engine as the app has it: it answers at once, and its models are loaded in the background."""
    return Engine(ModelManager(bundle, encoder, captioner))


def empty(cache: Path) -> None:
    """Forget what was fetched and computed."""
    for folder in (cache, Path(constants.HF_HUB_CACHE)):
        shutil.rmtree(folder)
        folder.mkdir()


def test_auto_answers_at_once_and_swaps_behind(full_hub: LoopbackHub, starter_bundle: Path, photo: Image.Image) -> None:
    engine = served(starter_bundle)
    assert not engine.status.encoder
    assert engine.search("a dog").hits
    assert engine.status.encoder == STARTER_ID and not engine.status.is_complete
    assert full_hub.requests == []
    engine.models.load_in_background()
    status = engine.status
    assert (status.encoder, status.captioner, status.problems) == (SIGLIP_ID, BLIP, [])
    assert status.is_complete and status.num_items == NUM_EXAMPLES and status.progress is None
    assert engine.index.provenance.revision == engine.models.current.encoder.revision == full_hub.commit(SIGLIP)
    assert engine.similar(photo).hits[0].item.id == "skimage/chelsea.jpg"
    assert engine.describe(photo).tags


def test_the_next_start_needs_no_hub(full_hub: LoopbackHub, starter_bundle: Path) -> None:
    served(starter_bundle).models.load_in_background()
    full_hub.fault = Hang()
    full_hub.requests.clear()
    engine = served(starter_bundle)
    engine.search("a dog")
    assert engine.status.encoder == STARTER_ID
    engine.models.load_in_background()
    assert (engine.status.encoder, engine.status.captioner, engine.status.problems) == (SIGLIP_ID, BLIP, [])
    assert full_hub.requests == []
    loaded = Engine.open(starter_bundle)  # on the command line there is nothing to wait for
    assert loaded.status.problems == []
    assert loaded.searcher.encoder.model_id == SIGLIP_ID


def test_queries_are_answered_while_encoder_and_vectors_are_swapped(
    full_hub: LoopbackHub, starter_bundle: Path
) -> None:
    engine = served(starter_bundle, "hf-hub:tiny/clip")
    seen = {engine.search("a dog", 1).hits[0].item.id}
    thread = threading.Thread(target=engine.models.load_in_background)
    thread.start()
    encoders = set()
    while thread.is_alive():
        encoders.add(engine.status.encoder)
        seen.add(engine.search("a dog", 1).hits[0].item.id)  # rows and query of two encoders would raise
    thread.join()
    assert engine.status.encoder == "hf-hub:tiny/clip"
    assert STARTER_ID in encoders and len(seen) >= 1


def test_progress_is_told(full_hub: LoopbackHub, starter_bundle: Path) -> None:
    engine = served(starter_bundle, "hf-hub:tiny/clip", "starter")
    engine.search("a dog")
    full_hub.fault = Slow(0.02)
    thread = threading.Thread(target=engine.models.load_in_background)
    thread.start()
    steps = {}
    while thread.is_alive():
        if progress := engine.status.progress:
            steps[progress.step] = progress
        time.sleep(0.005)
    assert {"fetch", "encode"} <= set(steps)
    assert steps["fetch"].model_id == "hf-hub:tiny/clip" and steps["fetch"].total > 6_000_000
    assert steps["encode"].total == NUM_EXAMPLES


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Status(500), "500"), (Hang(), "within 1 s"), (Corrupt(), "damaged")],
)
def test_with_auto_a_faulty_hub_leaves_the_starter_and_a_reason(
    full_hub: LoopbackHub,
    starter_bundle: Path,
    photo: Image.Image,
    fault: object,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_hub.fault = fault
    if fault == Hang():
        monkeypatch.setattr("imgsearch.hub.PROBE_S", 1.0)
    engine = served(starter_bundle)
    engine.models.load_in_background()
    status = engine.status
    assert (status.encoder, status.captioner) == (STARTER_ID, "")
    assert [SIGLIP in str(status.problems[0]), BLIP in str(status.problems[1])] == [True, True]
    assert all(reason in str(problem) for problem in status.problems)
    assert engine.search("a dog").hits and engine.describe(photo).caption


def test_asked_models_that_cannot_be_had_are_errors(full_hub: LoopbackHub, starter_bundle: Path) -> None:
    full_hub.fault = Status(500)
    for models in ({"encoder": "siglip2"}, {"captioner": "blip"}):
        with pytest.raises(ModelError, match="the hub answers 500"):
            ModelManager(starter_bundle, **models).check()
    with pytest.raises(ModelError, match="the hub answers 500"):
        Engine.open(starter_bundle, "siglip2").search("a dog")
    with pytest.raises(ModelError, match="the hub answers 500"):
        Engine.open(starter_bundle, captioner="blip").describe(Image.new("RGB", (32, 32)))


def test_an_asked_model_that_breaks_off_is_told_by_its_tab(
    full_hub: LoopbackHub, starter_bundle: Path, photo: Image.Image
) -> None:
    engine = served(starter_bundle, "siglip2", "blip")
    engine.models.check()
    full_hub.fault = Corrupt()
    engine.models.load_in_background()
    with pytest.raises(ModelError, match=rf"{SIGLIP}.*damaged"):
        engine.search("a dog")
    with pytest.raises(ModelError, match=rf"{BLIP}.*damaged"):
        engine.describe(photo)
    assert len(engine.status.problems) == 2


def test_a_bundle_brings_its_own_encoder(foreign: Path, photo: Image.Image) -> None:
    engine = Engine.open(foreign)
    assert engine.similar(photo, 3).hits and engine.models.current.encoder.model_id == "hf-hub:tiny/clip"


def test_what_built_a_bundle_opens_it_without_a_hub(full_hub: LoopbackHub, foreign: Path) -> None:
    full_hub.fault = Hang()
    full_hub.requests.clear()
    for encoder in ("auto", "hf-hub:tiny/clip"):
        engine = served(foreign, encoder)
        engine.models.check()
        assert engine.search("a dog").hits
    assert full_hub.requests == []


def test_a_refusal_keeps_nothing_of_the_query(full_hub: LoopbackHub, foreign: Path, photo: Image.Image) -> None:
    engine = served(foreign, "starter")
    refusals = []
    for _ in range(2):
        with pytest.raises(ModelError) as refusal:
            engine.similar(photo)
        refusals.append(refusal.value)
    assert refusals[0] is not refusals[1]  # one error raised again and again holds the frames of each time


def test_an_unexpected_error_is_told_and_the_rest_goes_on(
    full_hub: LoopbackHub, tiny: Path, tmp_path: Path, starter_bundle: Path, photo: Image.Image
) -> None:
    """Weights that encode texts and turn pictures into no numbers."""
    broken = Path(shutil.copytree(tiny / "clip", tmp_path / "broken"))
    tensors = load_file(broken / "open_clip_model.safetensors")
    tensors["visual.proj"] *= float("nan")
    save_file(tensors, broken / "open_clip_model.safetensors")
    engine = served(starter_bundle, f"local-dir:{broken}")
    engine.models.load_in_background()
    assert [*map(str, engine.status.problems)] == [FAILED]
    assert engine.status.captioner == BLIP and engine.status.progress is None
    with pytest.raises(ModelError, match="unexpected"):
        engine.search("a dog")
    assert engine.describe(photo).caption


def test_a_question_needs_a_captioner(starter_bundle: Path, photo: Image.Image) -> None:
    with pytest.raises(InputError, match="--captioner internvl"):
        list(
            Engine.open(starter_bundle, "starter", "starter").describe_stream(
                photo, detail="question", question="What?"
            )
        )


def test_precisions_have_names(starter_bundle: Path) -> None:
    for load in (lambda: load_encoder("starter", "double"), lambda: Engine.open(starter_bundle, precision="double")):
        with pytest.raises(SettingsError, match="auto, float32, bfloat16"):
            load()


def test_a_bundle_is_searched_with_the_commit_that_made_it(
    full_hub: LoopbackHub, foreign: Path, tiny: Path, tmp_path: Path, empty_cache: Path
) -> None:
    made_by = full_hub.commit("tiny/clip")
    full_hub.add("tiny/clip", tiny / "siglip")
    empty(empty_cache)
    assert Engine.open(foreign).searcher.encoder.revision == made_by != full_hub.commit("tiny/clip")


def test_a_bundle_whose_encoder_cannot_be_had_still_describes(
    full_hub: LoopbackHub, foreign: Path, empty_cache: Path, photo: Image.Image
) -> None:
    empty(empty_cache)
    full_hub.fault = Status(500)
    engine = served(foreign)
    with pytest.raises(ModelError, match="tiny/clip.* is being fetched"):
        engine.search("a dog")
    engine.models.load_in_background()
    for query in (lambda: engine.search("a dog"), lambda: engine.similar(photo)):
        with pytest.raises(ModelError, match="cannot be searched: tiny/clip.*the hub answers 500"):
            query()
    assert engine.describe(photo).caption
    assert "tiny/clip" in str(engine.status.problems[0]) and engine.status.num_items is None


def test_another_encoder_for_a_bundle_is_an_error_that_names_both(foreign: Path) -> None:
    engine = served(foreign, "starter")
    with pytest.raises(BundleError, match=r"hf-hub:tiny/clip@.*but starter/"):
        engine.models.check()
    with pytest.raises(ModelError, match=r"hf-hub:tiny/clip@.*but starter/"):
        engine.search("a dog")


def test_weights_that_changed_in_their_folder_are_noticed(folder: Path, tiny: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny / "clip", tmp_path / "model"))
    build_index(Folder(folder), tmp_path / "bundle", load_encoder(f"local-dir:{model}"))
    assert Engine.open(tmp_path / "bundle").search("a dog").hits
    weights = model / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BundleError, match="was made by the encoder"):
        Engine.open(tmp_path / "bundle").search("a dog")


def test_a_caption_grows_beside_the_tags(full_hub: LoopbackHub, starter_bundle: Path, photo: Image.Image) -> None:
    engine = Engine.open(starter_bundle, "starter", "blip")
    descriptions = list(engine.describe_stream(photo))
    assert len(descriptions) > 2 and descriptions[0].caption == ""
    assert all(description.tags == descriptions[0].tags for description in descriptions)
    assert descriptions[-1].caption.startswith(descriptions[1].caption)
    assert engine.describe(photo).caption == descriptions[-1].caption


def test_a_long_text_is_cut_and_told(full_hub: LoopbackHub, starter_bundle: Path) -> None:
    text = "a dog that runs on a long beach in the evening with people " * 3
    assert Engine.open(starter_bundle, "starter").search(text, 1).cut == ""
    cut = Engine.open(starter_bundle, "hf-hub:tiny/clip").search(text, 1).cut
    assert cut and text.strip().endswith(cut)
