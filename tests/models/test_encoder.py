"""What any encoder promises, held to the real starter and to tiny models of open_clip; and what only one kind does."""

import json
import runpy
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from imgsearch.config import ROOT
from imgsearch.embeddings import Embeddings, check_unit, encode_cached, load_rows, normalize
from imgsearch.errors import BundleError, ModelError, SettingsError
from imgsearch.files import digest_file, read_table
from imgsearch.images import open_rgb
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.clip import ClipEncoder, ClipSpec
from imgsearch.models.encoder import Classifier, Encoder
from imgsearch.models.loading import PRECISIONS, check_precision, choose_device, choose_precision
from imgsearch.models.starter import LABELS, NUM_FEATURES, NUM_SEMANTIC
from imgsearch.search.collection import open_collection
from tests.helpers.examples import NUM_EXAMPLES

CLIPS = ("clip", "siglip")
SEMANTIC = slice(NUM_FEATURES, NUM_FEATURES + NUM_SEMANTIC)  # of the starter's rows
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
TEXTS = ["a dog", "A man, and his dog!", "un chien près de l'étang", "🦊", "", "a long text " * 30, "x" * 5000]
LONG_TEXTS = (
    "a brown dog that runs on a beach in the evening while two cats sleep on a red sofa",
    "Près de l'étang gelé, où rêvait un héron cendré, naît déjà l'été où tout s'éveille à côté",
    "🦊 🐻 a fox 🦊 and a bear 🐻 in the snow ❄️ 🦊 🐻 🦊 🐻 🦊 🐻 🦊 🐻 end",
    "donaudampfschifffahrtsgesellschaftskapitän " * 9,
    "tabs\tand\nlines   and &amp; signs, commas; dots... all of them are in a text that is too long to be read",
)


def load(folder: Path, precision: str = "float32") -> ClipEncoder:
    return ClipEncoder(ClipSpec.parse(f"local-dir:{folder}"), {"": folder}, precision=precision)


@pytest.fixture(scope="session")
def clips(tiny: Path) -> dict[str, ClipEncoder]:
    return {name: load(tiny / name) for name in CLIPS}


@pytest.fixture(scope="session", params=CLIPS)
def clip(request: pytest.FixtureRequest, clips: dict[str, ClipEncoder]) -> ClipEncoder:
    return clips[request.param]


@pytest.fixture(scope="session", params=["starter", *CLIPS])
def each(request: pytest.FixtureRequest, encoder: Encoder, clips: dict[str, ClipEncoder]) -> Encoder:
    """Each encoder in turn."""
    return encoder if request.param == "starter" else clips[request.param]


@pytest.fixture(scope="session")
def pictures(examples: Path) -> list[Image.Image]:
    paths = [*sorted((examples / "stamps").glob("*.jpg"))[:5], *sorted((examples / "wallpapers").glob("*.jpg"))[:4]]
    return [Image.open(path).convert("RGB") for path in paths]


@pytest.fixture(scope="session")
def collection(starter_bundle: Path) -> list[Image.Image]:
    """The pictures of the starter collection, in its order."""
    index = Index.load(starter_bundle)
    return [open_rgb(index.original(index.item(row)) or b"") for row in range(len(index))]


@pytest.fixture(scope="session")
def collection_rows(clips: dict[str, ClipEncoder], collection: list[Image.Image]) -> dict[str, Embeddings]:
    """Their rows by each tiny model."""
    return {name: clip.encode_images(collection) for name, clip in clips.items()}


def test_rows_are_unit_and_float32(each: Encoder, pictures: list[Image.Image]) -> None:
    for rows in (each.encode_images(pictures), each.encode_texts(["a dog", "un chien", "🦊", "x" * 5000])):
        check_unit(rows, each.dim)
        assert np.isfinite(rows).all()


def test_nothing_in_nothing_out(each: Encoder) -> None:
    for rows in (each.encode_images([]), each.encode_texts([])):
        assert (rows.shape, rows.dtype) == ((0, each.dim), np.float32)


def test_a_row_does_not_depend_on_its_neighbours(each: Encoder, pictures: list[Image.Image]) -> None:
    together = each.encode_images(pictures)
    alone = np.concatenate([each.encode_images([picture]) for picture in pictures])
    assert np.abs(together - alone).max() < 1e-4
    texts = ["a dog", "a much longer text about a brown dog that runs on a beach in the evening", "cat"]
    assert np.abs(each.encode_texts(texts) - np.concatenate([each.encode_texts([t]) for t in texts])).max() < 1e-4


def test_a_row_does_not_depend_on_the_number_of_inputs(each: Encoder, pictures: list[Image.Image]) -> None:
    """More than go into one forward pass, and not a multiple of it."""
    few = each.encode_images(pictures)
    many = each.encode_images((pictures * 5)[:43])
    assert np.abs(many - np.tile(few, (5, 1))[:43]).max() < 1e-4
    texts = [f"{number} dogs" for number in range(43)]
    assert np.abs(each.encode_texts(texts)[-3:] - each.encode_texts(texts[-3:])).max() < 1e-4


def test_any_shape_of_picture_encodes(each: Encoder) -> None:
    shapes = [(1, 1), (1, 900), (900, 1), (3, 2), (5000, 40), (1, 20_000)]
    check_unit(each.encode_images([Image.new("RGB", shape, "navy") for shape in shapes]), each.dim)


def test_texts_and_pictures_are_not_all_the_same(each: Encoder, pictures: list[Image.Image]) -> None:
    for rows in (each.encode_images(pictures), each.encode_texts(["a dog", "mountains at dusk", "un chat"])):
        assert np.triu(rows @ rows.T, 1).max() < 0.9999


def test_several_threads_may_ask_at_once(each: Encoder) -> None:
    long = LONG_TEXTS[0]
    expected, rest = each.encode_texts([long]), each.truncated_tail(long)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: (each.encode_texts([long]), each.truncated_tail(long)), range(80)))
    assert max(np.abs(rows - expected).max() for rows, _ in answers) < 1e-4
    assert {cut for _, cut in answers} == {rest}


def test_text_scale_turns_inner_products_into_cosines(encoder: Encoder, pictures: list[Image.Image]) -> None:
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(["a frog", "mountains"])
    expected = normalize(texts[:, SEMANTIC]) @ normalize(images[:, SEMANTIC]).T
    assert encoder.text_scale * (texts @ images.T) == pytest.approx(expected, abs=1e-5)


def test_the_packaged_classifier_names_what_it_sees(encoder: Encoder, examples: Path) -> None:
    """The 247 tensors went to the right places: the nearest of 1,000 labels is the right one."""
    labels = np.load(LABELS).astype(np.float32)
    names = [name for name, *_ in read_table("imagenet.tsv")]
    for file, name in (("skimage/coffee.jpg", "espresso"), ("wallpapers/two_dogs.jpg", "Cocker Spaniel")):
        row = encoder.encode_images([Image.open(examples / file).convert("RGB")])[0, SEMANTIC]
        assert name in names[int(np.argmax(labels @ row))]


def test_rows_alone_tell_the_class(encoder: Encoder, pictures: list[Image.Image], examples: Path) -> None:
    assert isinstance(encoder, Classifier)
    assert len(encoder.classes) == 1000
    assert encoder.classes[24] == "owl"
    rows = encoder.encode_images([Image.open(examples / "skimage/coffee.jpg").convert("RGB"), *pictures])
    probabilities = encoder.class_probabilities(rows)
    assert (probabilities.shape, probabilities.dtype) == ((len(rows), 1000), np.float32)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert encoder.classes[int(probabilities[0].argmax())] == "espresso"
    assert 0.5 < probabilities[0].max() < 0.99
    assert encoder.class_probabilities(rows[:0]).shape == (0, 1000)


@pytest.mark.parametrize("step", [20, pytest.param(1, marks=pytest.mark.long)])
def test_the_shipped_labels_are_those_of_the_facts(step: int) -> None:
    tool = runpy.run_path(str(ROOT / ".tools" / "make_labels.py"))
    shipped = np.load(LABELS, allow_pickle=False)
    assert (shipped.shape, shipped.dtype) == ((1000, 384), np.float16)
    assert (
        np.abs(shipped[::step].astype(np.float32) - tool["embed_labels"](tool["read_classes"]()[::step])).max() < 1e-3
    )


def test_normalize_refuses_what_has_no_direction() -> None:
    assert normalize([[3.0, 4.0]]) == pytest.approx(np.array([[0.6, 0.8]]))
    for bad in ([[0.0, 0.0]], [[np.nan, 1.0]], [[np.inf, 1.0]]):
        with pytest.raises(ValueError, match="zero or not finite"):
            normalize(bad)


@pytest.mark.parametrize("name", CLIPS)
def test_rows_are_those_of_open_clip(
    name: str, tiny: Path, clips: dict[str, ClipEncoder], pictures: list[Image.Image]
) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tiny / name}", device=choose_device())
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny / name}")
    model.eval()
    with torch.inference_mode():
        pixels = torch.stack([preprocess(picture) for picture in pictures]).to(choose_device())
        images = model.encode_image(pixels, normalize=True).cpu().numpy()
        texts = model.encode_text(tokenizer(TEXTS).to(choose_device()), normalize=True).cpu().numpy()
    assert (clips[name].encode_images(pictures) * images).sum(1).min() >= 0.9999
    assert (clips[name].encode_texts(TEXTS) * texts).sum(1).min() >= 0.9999


def test_a_folder_has_the_digest_of_its_weights_and_its_cosines_are_plain(clip: ClipEncoder) -> None:
    weights = Path(clip.model_id.removeprefix("local-dir:")) / "open_clip_model.safetensors"
    assert (clip.revision, clip.text_scale, clip.dim) == (digest_file(weights).sha256, 1.0, 32)
    assert not isinstance(clip, Classifier)


def top_ten(rows: Embeddings) -> list[list[int]]:
    """Of each row, the ten that are nearest to it."""
    return np.argsort(-(rows @ rows.T), axis=1)[:, :10].tolist()


@pytest.mark.parametrize("name", CLIPS)
def test_bfloat16_finds_what_float32_finds(
    name: str, tiny: Path, collection: list[Image.Image], collection_rows: dict[str, Embeddings]
) -> None:
    """Near-equal scores swap, as random weights make many: of tens that are told apart by 0.002, 0.99 are the same."""
    half = load(tiny / name, "bfloat16")
    assert half.precision == "bfloat16"
    rows, full = half.encode_images(collection), collection_rows[name]
    check_unit(rows, half.dim)
    assert (rows * full).sum(1).min() > 0.999
    pairs = list(zip(top_ten(rows), top_ten(full), strict=True))
    assert np.mean([len({*ours} & {*theirs}) / 10 for ours, theirs in pairs]) >= 0.985
    scores = full @ full.T
    tenth = [scores[row, theirs].min() for row, (_, theirs) in enumerate(pairs)]
    good = [np.mean(scores[row, ours] >= tenth[row] - 0.002) for row, (ours, _) in enumerate(pairs)]
    assert np.mean(good) >= 0.99


def test_a_short_text_is_not_cut(clip: ClipEncoder) -> None:
    for text in ("a dog", "", " ", "🦊", "été"):
        assert clip.truncated_tail(text) == ""


def front_and_cut(clip: ClipEncoder, text: str) -> tuple[str, str]:
    """The words that are read and those that are not; they are the whole text."""
    cut = clip.truncated_tail(text)
    words = " ".join(text.split())
    assert cut and words.endswith(cut)
    return words.removesuffix(cut).rstrip(), cut


@pytest.mark.parametrize("text", LONG_TEXTS)
def test_a_long_text_is_cut_where_the_model_stops_reading(clip: ClipEncoder, text: str) -> None:
    """The last word in front changes the row; what comes after the first word that is cut does not."""
    front, cut = front_and_cut(clip, text)
    assert clip.truncated_tail(front) == ""
    row, first, *others = clip.encode_texts(
        [text, f"{front} {cut.split()[0]} and more", front, f"{' '.join(front.split()[:-1])} q"]
    )
    assert np.abs(row - first).max() < 1e-5
    assert np.abs(others[0] - others[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "front"),
    [
        ("clip", "a " * 14),
        ("clip", "the man and his dog on the beach in the sun with a cat"),
        ("clip", "🦊 " * 7),
        ("clip", "été " * 7),
        ("siglip", "a " * 8),
        ("siglip", "a man and a dog"),
        ("siglip", "aaaaa 🦊 🦊"),
        ("siglip", "abc é à ù ç"),
        ("siglip", "x" * 15),
    ],
)
def test_a_text_that_fills_the_context_is_all_that_is_read(
    name: str, front: str, clips: dict[str, ClipEncoder]
) -> None:
    """The row of the long text is the row of its front part."""
    front = front.strip()
    assert clips[name].truncated_tail(front) == ""
    assert clips[name].truncated_tail(f"{front} and more") == "and more"
    rows = clips[name].encode_texts([front, f"{front} and more", f"{front[:-1]}y"])
    assert np.abs(rows[0] - rows[1]).max() < 1e-5
    assert np.abs(rows[0] - rows[2]).max() > 1e-3


def test_one_word_longer_than_the_context_is_cut_whole(clips: dict[str, ClipEncoder]) -> None:
    for name, word in (("clip", "qzxj" * 20), ("siglip", "x" * 50)):
        assert front_and_cut(clips[name], word) == ("", word)
        assert np.abs(np.subtract(*clips[name].encode_texts([word, word + "qzxj"]))).max() < 1e-5


def change_config(folder: Path, part: str, name: str, value: object) -> None:
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    part_of = config["model_cfg"] if part == "model_cfg" else config["model_cfg"][part]
    part_of[name] = value
    (folder / CONFIG).write_text(json.dumps(config), "utf-8")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights cut short": lambda folder: cut_short(folder / WEIGHTS),
    "empty weights": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "config not JSON": lambda folder: (folder / CONFIG).write_text('{"model_cfg": {'),
    "config a list": lambda folder: (folder / CONFIG).write_text("[]"),
    "config not UTF-8": lambda folder: (folder / CONFIG).write_bytes(b"\xe9"),
    "other width": lambda folder: change_config(folder, "model_cfg", "embed_dim", 16),
    "more layers": lambda folder: change_config(folder, "vision_cfg", "layers", 3),
    "other text tower": lambda folder: change_config(folder, "text_cfg", "vocab_size", 1000),
    "a tower that is elsewhere": lambda folder: change_config(folder, "text_cfg", "hf_model_name", "some/bert"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CLIPS)
def test_a_folder_that_cannot_be_loaded_is_named_in_one_line(
    name: str, damage: str, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny / name, tmp_path / "model"))
    DAMAGES[damage](folder)
    with pytest.raises(ModelError, match="cannot be loaded: .") as raised:
        load(folder)
    assert f"local-dir:{folder}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("config", "weights"), [CLIPS, CLIPS[::-1]])
def test_the_config_of_another_architecture_is_refused(config: str, weights: str, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny / config, tmp_path / "model"))
    shutil.copy(tiny / weights / WEIGHTS, folder)
    with pytest.raises(ModelError, match=r"^local-dir:.*cannot be loaded: [^\n]+$"):
        load(folder)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="local-dir:/nowhere/at/all cannot be loaded"):
        load(Path("/nowhere/at/all"))


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, "float32"),
        ({"avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_auto_on_a_cpu_follows_what_it_can(
    able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert choose_precision("auto", "cpu") == expected
    assert choose_precision("auto", "mps") == "float32"


def test_auto_is_one_of_the_two_on_this_machine(tiny: Path) -> None:
    able = torch.cpu.get_capabilities()
    is_fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    assert choose_precision("auto", "cpu") == ("bfloat16" if is_fast else "float32")
    assert load(tiny / "siglip", "auto").precision == choose_precision("auto", choose_device())


def test_a_precision_that_is_asked_for_stays(clip: ClipEncoder) -> None:
    assert clip.precision == "float32"
    for device in ("cpu", "mps", "cuda"):
        assert [choose_precision(name, device) for name in PRECISIONS[1:]] == ["float32", "bfloat16"]


def test_an_unknown_precision_is_refused() -> None:
    for name in PRECISIONS:
        check_precision(name)
    for name in ("float16", "bf16", "", "Float32"):
        with pytest.raises(SettingsError, match=r"Use one of: auto, float32, bfloat16\.$"):
            check_precision(name)


class Counting:
    """An encoder that counts the pictures it is given."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.count = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        self.count += len(images)
        return self._encoder.encode_images(images)


def test_the_starter_collection_opens_for_any_encoder(
    starter_bundle: Path, clips: dict[str, ClipEncoder], collection_rows: dict[str, Embeddings], empty_cache: Path
) -> None:
    encoder, steps = Counting(clips["clip"]), []
    index = open_collection(starter_bundle, encoder, lambda done, total: steps.append((done, total)))
    shipped = Index.load(starter_bundle)
    assert (len(index), index.dim, encoder.count) == (NUM_EXAMPLES, 32, NUM_EXAMPLES)
    assert np.abs(index.rows - collection_rows["clip"]).max() < 2e-3  # kept in half precision
    assert [index.item(row) for row in range(NUM_EXAMPLES)] == [shipped.item(row) for row in range(NUM_EXAMPLES)]
    assert (index.provenance.encoder, index.provenance.revision, index.provenance.precision) == (
        encoder.model_id,
        encoder.revision,
        "float32",
    )
    assert index.original(index.item(0)) == shipped.original(shipped.item(0)) is not None
    assert (
        steps == sorted(set(steps))
        and steps[0] == (0, NUM_EXAMPLES)
        and {total for _, total in steps} == {NUM_EXAMPLES}
    )

    again = open_collection(starter_bundle, encoder, lambda done, total: steps.clear())
    assert encoder.count == NUM_EXAMPLES and steps, "the rows were made anew"
    assert np.array_equal(again.rows, index.rows)

    (file,) = empty_cache.iterdir()
    cut_short(file)
    anew = open_collection(starter_bundle, encoder, lambda done, total: None)
    assert encoder.count == 2 * NUM_EXAMPLES
    assert np.array_equal(anew.rows, index.rows)
    assert [path.name for path in empty_cache.iterdir()] == [file.name]
    assert load_rows(file, (NUM_EXAMPLES, 32)) is not None


def test_each_encoder_has_vectors_of_its_own(
    starter_bundle: Path, tiny: Path, clips: dict[str, ClipEncoder], empty_cache: Path
) -> None:
    encoders = [clips["siglip"], load(tiny / "siglip", "bfloat16")]
    indexes = [open_collection(starter_bundle, encoder, lambda done, total: None) for encoder in encoders]
    assert len(list(empty_cache.iterdir())) == 2
    assert [index.provenance.precision for index in indexes] == ["float32", "bfloat16"]


def test_pictures_that_are_gone_are_read_from_their_thumbnails(
    copy_bundle: Callable[[], Path], clips: dict[str, ClipEncoder], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_bundle()
    monkeypatch.setattr("imgsearch.config.STARTER_BUNDLE", bundle)
    index = open_collection(bundle, clips["siglip"], lambda done, total: None)
    items = [index.item(row) for row in range(5)]
    assert {index.original(item) for item in items} == {None}
    expected = clips["siglip"].encode_images([open_rgb(item.thumbnail) for item in items])
    assert np.abs(index.rows[:5] - expected).max() < 2e-3


def test_another_bundle_keeps_to_its_encoder(
    folder: Path, tmp_path: Path, encoder: Encoder, clips: dict[str, ClipEncoder], empty_cache: Path
) -> None:
    build_index(Folder(folder), tmp_path / "bundle", encoder)
    assert len(open_collection(tmp_path / "bundle", encoder, lambda done, total: None)) == 6
    with pytest.raises(BundleError, match="made by the encoder") as raised:
        open_collection(tmp_path / "bundle", clips["clip"], lambda done, total: None)
    assert encoder.model_id in str(raised.value) and clips["clip"].model_id in str(raised.value)
    assert not [*empty_cache.glob("*")]


def test_a_bundle_made_by_clip_opens_as_it_is(
    folder: Path, tmp_path: Path, clips: dict[str, ClipEncoder], empty_cache: Path
) -> None:
    build_index(Folder(folder), tmp_path / "bundle", clips["clip"])
    counting = Counting(clips["clip"])
    assert len(open_collection(tmp_path / "bundle", counting, lambda done, total: None)) == 6
    assert counting.count == 0 and not [*empty_cache.glob("*")]


def test_a_place_that_cannot_be_written_to_is_done_without(
    starter_bundle: Path, clips: dict[str, ClipEncoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(open_collection(starter_bundle, clips["siglip"], lambda done, total: None)) == NUM_EXAMPLES


def test_damaged_rows_are_none(tmp_path: Path) -> None:
    rows, file = normalize(np.random.default_rng(0).normal(size=(6, 4))), tmp_path / "cache" / "rows.npy"
    encode_cached(file, 4, list(rows), np.stack, 6, lambda done, total: None)
    assert np.array_equal(load_rows(file, (6, 4)), rows)
    whole = file.read_bytes()
    for shape in ((5, 4), (6, 5)):
        assert load_rows(file, shape) is None
    assert load_rows(tmp_path, (6, 4)) is load_rows(tmp_path / "none", (6, 4)) is None
    for damaged in (
        b"",
        b"text",
        whole[:7],
        whole[:100],
        whole[:-1],
        whole[:128] + bytes(96),
        whole[:-8] + b"\xff" * 8,
    ):
        file.write_bytes(damaged)
        assert load_rows(file, (6, 4)) is None
    for position in range(128):  # of the header
        for mask in (0x01, 0x20, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            file.write_bytes(damaged)
            found = load_rows(file, (6, 4))
            assert found is None or np.array_equal(found, rows)
