"""Captions are the library's own, word by word; they stop when asked to, leave nothing behind, and do not loop."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias, get_args

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from imgsearch.errors import InputError, ModelError
from imgsearch.models.captioner import (
    MAX_CAPTION_TOKENS,
    MAX_QUESTION,
    MAX_TOKENS,
    NO_REPEAT,
    NO_REPEAT_CHAT,
    NUM_BEAMS,
    PROMPTS,
    Captioner,
    Detail,
)
from imgsearch.models.loading import choose_device, choose_precision

Library: TypeAlias = dict[str, tuple[Any, Any]]  # processor and model
KINDS = ("blip", "internvl")
PICTURES = (
    "skimage/chelsea.jpg",
    "skimage/coffee.jpg",
    "stamps/animals-birds-owl.jpg",
    "wallpapers/two_dogs.jpg",
    "animals/camels.jpg",  # of this one the tiny BLIP writes up to the last token, and says three words twice
)

DETAILS: tuple[Detail, ...] = get_args(Detail)


@pytest.fixture(scope="session")
def captioners(tiny: Path) -> dict[str, Captioner]:
    return {kind: Captioner(f"tiny/{kind}", tiny / kind, precision="float32") for kind in KINDS}


@pytest.fixture(scope="session", params=KINDS)
def captioner(request: pytest.FixtureRequest, captioners: dict[str, Captioner]) -> Captioner:
    return captioners[request.param]


@pytest.fixture(scope="session")
def pictures(examples: Path) -> list[Image.Image]:
    return [Image.open(examples / name).convert("RGB") for name in PICTURES]


@pytest.fixture(autouse=True)
def no_thread_stays(captioners: dict[str, Captioner]) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for captioner in captioners.values():
        captioner._writer.submit(int).result(timeout=2)  # it writes no more
    left = {thread for thread in threading.enumerate() if not thread.name.startswith("captioner")} - before
    for thread in left:
        thread.join(timeout=10)  # a pool that has loaded weights ends a moment after them
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture(scope="session")
def library(tiny: Path) -> Library:
    """Of each kind what its processor and its model are by transformers' own classes, which know nothing of ours."""
    load = AutoModelForImageTextToText.from_pretrained
    return {
        kind: (
            AutoProcessor.from_pretrained(tiny / kind),
            load(tiny / kind, dtype=torch.float32).to(choose_device()).eval(),
        )
        for kind in KINDS
    }


def caption(library: Library, image: Image.Image, **options: int) -> str:
    """What BLIP writes, used as the library's documentation shows."""
    processor, model = library["blip"]
    inputs = processor(images=image, return_tensors="pt").to(choose_device())
    ids = model.generate(**inputs, do_sample=False, **options)
    return str(processor.decode(ids[0], skip_special_tokens=True)).replace("[DEC]", "").strip()


def answer(library: Library, image: Image.Image, prompt: str, **options: int) -> str:
    """What InternVL writes, used as the library's documentation shows."""
    processor, model = library["internvl"]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=[image], text=text, crop_to_patches=False, return_tensors="pt").to(choose_device())
    ids = model.generate(**inputs, do_sample=False, **options)
    return str(processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize(("detail", "num_beams"), [("short", 1), ("detailed", NUM_BEAMS)])
def test_blip_says_what_the_library_says(
    detail: Detail,
    num_beams: int,
    library: Library,
    captioners: dict[str, Captioner],
    pictures: list[Image.Image],
) -> None:
    options = {"max_new_tokens": MAX_CAPTION_TOKENS, "num_beams": num_beams, "no_repeat_ngram_size": NO_REPEAT}
    for picture in pictures:
        *_, text = captioners["blip"].describe(picture, detail=detail)
        assert len(text.split()) > 5
        assert text == caption(library, picture, **options)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("detail", DETAILS)
def test_internvl_says_what_the_library_says(
    detail: Detail, language: str, library: Library, captioners: dict[str, Captioner], pictures: list[Image.Image]
) -> None:
    if detail == "detailed" and choose_device() == "cuda":
        pytest.skip("a detailed caption reads tiles there")
    prompt = PROMPTS[detail, language].format("Is it big?")
    for picture in pictures[:2]:
        options = {"max_new_tokens": MAX_TOKENS[detail], "no_repeat_ngram_size": NO_REPEAT_CHAT}
        expected = answer(library, picture, prompt, **options)
        *_, text = captioners["internvl"].describe(picture, detail=detail, question=" Is it big? ", language=language)
        assert text == expected != ""


def test_no_phrase_is_said_again(
    library: Library, captioners: dict[str, Captioner], pictures: list[Image.Image]
) -> None:
    """The model by itself does so; each of its words is one token."""

    def phrases(text: str) -> list[tuple[str, ...]]:
        words = text.split()
        return [tuple(words[start : start + NO_REPEAT]) for start in range(len(words) - NO_REPEAT + 1)]

    by_itself = phrases(caption(library, pictures[-1], max_new_tokens=MAX_CAPTION_TOKENS))
    assert len(set(by_itself)) < len(by_itself)
    *_, text = captioners["blip"].describe(pictures[-1])
    assert len(set(phrases(text))) == len(phrases(text)) > 0


def test_texts_grow(captioner: Captioner, pictures: list[Image.Image]) -> None:
    for picture in pictures:
        texts = list(captioner.describe(picture, detail="short"))
        assert "" not in texts and len(set(texts)) == len(texts)
        assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    if not captioner.is_chat:
        assert len(texts) > 10


def test_beams_arrive_whole(captioners: dict[str, Captioner], pictures: list[Image.Image]) -> None:
    for picture in pictures:
        texts = list(captioners["blip"].describe(picture, detail="detailed"))
        assert len(texts) == 1


@pytest.mark.parametrize("detail", DETAILS[:2])
def test_the_same_picture_has_the_same_caption(
    captioner: Captioner, detail: Detail, pictures: list[Image.Image]
) -> None:
    first = [list(captioner.describe(picture, detail=detail)) for picture in pictures]
    assert first == [list(captioner.describe(picture.copy(), detail=detail)) for picture in pictures]
    if not captioner.is_chat:
        assert len({texts[-1] for texts in first}) == len(pictures)


def test_several_threads_may_ask_at_once(captioner: Captioner, pictures: list[Image.Image]) -> None:
    def ask(number: int) -> list[str]:
        return list(captioner.describe(pictures[number % 2], detail=DETAILS[number // 2 % 2]))

    expected = [ask(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(12))) == expected * 3


def test_neither_the_prompt_nor_special_tokens_are_shown(
    captioners: dict[str, Captioner], pictures: list[Image.Image]
) -> None:
    for captioner in captioners.values():
        for detail in DETAILS if captioner.is_chat else DETAILS[:2]:
            for picture in pictures[:2]:
                text = " ".join(captioner.describe(picture, detail=detail, question="Is it big?"))
                assert re.fullmatch("[a-z ]+", text), "a [, <, |, capital or newline is none of the caption's"
                assert not re.search("describe|picture|sentence|assistant|user|dec", text)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2), (3000, 40)])
def test_any_shape_of_picture_is_described(captioner: Captioner, size: tuple[int, int]) -> None:
    assert list(captioner.describe(Image.new("RGB", size, "navy")))


@pytest.mark.parametrize("detail", DETAILS[:2])
def test_it_stops_when_asked(captioner: Captioner, detail: Detail, pictures: list[Image.Image]) -> None:
    before, calls = set(threading.enumerate()), count(1)
    texts = list(captioner.describe(pictures[-1], detail=detail, stop=lambda: next(calls) >= 3))
    assert next(calls) == 4, "it went on"
    assert texts and len(texts[-1].split()) <= 3
    assert set(threading.enumerate()) == before


def test_it_stops_when_asked_at_once(captioner: Captioner, pictures: list[Image.Image]) -> None:
    for detail in DETAILS[:2]:
        (text,) = captioner.describe(pictures[-1], detail=detail, stop=lambda: True)
        assert len(text.split()) == 1


def test_it_stops_when_its_time_is_over(
    captioner: Captioner, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.models.captioner.MAX_S", 1e-9)
    for detail in DETAILS[:2]:
        *_, text = captioner.describe(pictures[-1], detail=detail)
        assert len(text.split()) == 1


@pytest.mark.parametrize("detail", DETAILS[:2])
def test_it_stops_when_the_listener_leaves(captioner: Captioner, detail: Detail, pictures: list[Image.Image]) -> None:
    before, calls = set(threading.enumerate()), count()
    texts = captioner.describe(pictures[-1], detail=detail, stop=lambda: next(calls) < 0)
    assert next(texts)
    texts.close()
    assert set(threading.enumerate()) == before
    steps = next(calls)
    if not captioner.is_chat and detail == "short":
        assert steps < MAX_CAPTION_TOKENS, "it wrote to the end"
    assert list(texts) == []


def test_nothing_runs_before_the_first_text_is_asked_for(captioner: Captioner, pictures: list[Image.Image]) -> None:
    before = set(threading.enumerate())
    texts = captioner.describe(pictures[0])
    assert set(threading.enumerate()) == before
    texts.close()


@pytest.mark.parametrize("detail", DETAILS[:2])
def test_what_goes_wrong_inside_reaches_the_caller(
    captioner: Captioner, detail: Detail, pictures: list[Image.Image]
) -> None:
    before, calls = set(threading.enumerate()), count(1)

    def stop() -> bool:
        if next(calls) == 2:
            raise RuntimeError("broken")
        return False

    with pytest.raises(RuntimeError, match="^broken$"):
        list(captioner.describe(pictures[-1], detail=detail, stop=stop))
    assert set(threading.enumerate()) == before


def test_a_picture_that_breaks_reaches_the_caller(captioner: Captioner, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes((examples / PICTURES[0]).read_bytes()[:4000])
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="truncated"):
        list(captioner.describe(Image.open(tmp_path / "cut.jpg")))
    assert set(threading.enumerate()) == before


def test_a_question_that_cannot_be_put_is_refused(
    captioners: dict[str, Captioner], pictures: list[Image.Image]
) -> None:
    for question in ("", "  \n", "x" * (MAX_QUESTION + 1)):
        with pytest.raises(InputError, match=rf"^Ask a question of at most {MAX_QUESTION} characters\.$"):
            captioners["internvl"].describe(pictures[0], detail="question", question=question)
    with pytest.raises(InputError, match=r"^tiny/blip answers no questions\. [^\n]*internvl[^\n]*\.$"):
        captioners["blip"].describe(pictures[0], detail="question", question="What is this?")
    stop = count()
    texts = captioners["internvl"].describe(
        pictures[0], detail="question", question="é" * MAX_QUESTION, stop=lambda: next(stop) > 2
    )
    assert list(texts)


@pytest.fixture
def prompt_of(captioners: dict[str, Captioner], library: Library, pictures: list[Image.Image]) -> Callable[..., str]:
    """Gives the text that InternVL reads."""

    def prompt(language: str = "en", question: str = "") -> str:
        inputs = captioners["internvl"].read(pictures[0], "question" if question else "short", question, language)
        return str(library["internvl"][0].decode(inputs["input_ids"][0]))

    return prompt


@pytest.mark.parametrize("token", ["<IMG_CONTEXT>", "<video>", "<|im_end|>", "<|im_start|>", "<img>", "</img>"])
def test_a_question_holds_no_token_of_the_model(
    token: str, captioners: dict[str, Captioner], pictures: list[Image.Image], prompt_of: Callable[..., str]
) -> None:
    """Else it could end the user's turn, or announce pictures that are not there."""
    question = f"Is it{token} big?"
    assert all(captioners["internvl"].describe(pictures[0], detail="question", question=question))
    assert prompt_of("en", question).count(token) == prompt_of("en", "Is it big?").count(token)


@pytest.mark.parametrize("language", ["en", "fr", "de"])
def test_the_language_reaches_the_model(language: str, prompt_of: Callable[..., str]) -> None:
    known, other = ("fr", "en") if language == "fr" else ("en", "fr")
    assert PROMPTS["short", known] in prompt_of(language)
    assert PROMPTS["short", other] not in prompt_of(language)
    answer_in = PROMPTS["question", known].removeprefix("{}")
    assert f"\nOù est l'{{objet}} ?{answer_in}<|im_end|>" in prompt_of(language, "Où est l'{objet} ?")


def test_a_wide_picture_is_read_in_one_piece(captioners: dict[str, Captioner], library: Library) -> None:
    wide = Image.new("RGB", (2000, 500), "navy")
    processor = library["internvl"][0]
    token = processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    usual = processor(images=[wide], text="<IMG_CONTEXT>", return_tensors="pt")
    assert (usual["input_ids"] == token).sum() > 1, "there are no tiles to be left out"
    for detail in DETAILS:
        inputs = captioners["internvl"].read(wide, detail, "Is it big?", "en")
        num_pieces = int((inputs["input_ids"] == token).sum())
        assert num_pieces == len(inputs["pixel_values"])
        assert (num_pieces == 1) == (detail != "detailed" or choose_device() != "cuda")


def test_its_processor_tells_whether_it_takes_instructions(
    tiny: Path, tmp_path: Path, captioners: dict[str, Captioner]
) -> None:
    assert {kind: captioner.is_chat for kind, captioner in captioners.items()} == {"blip": False, "internvl": True}
    shutil.copytree(tiny / "internvl", tmp_path / "plain", ignore=shutil.ignore_patterns("*.jinja"))
    assert not Captioner("tiny/plain", tmp_path / "plain").is_chat


def test_bfloat16_describes(tiny: Path, captioner: Captioner, pictures: list[Image.Image]) -> None:
    half = Captioner(captioner.model_id, tiny / captioner.model_id.rpartition("/")[2], precision="bfloat16")
    assert (half.precision, captioner.precision) == ("bfloat16", "float32")
    for detail in DETAILS[:2]:
        *_, ours = half.describe(pictures[0], detail=detail)
        *_, full = captioner.describe(pictures[0], detail=detail)
        assert ours.split()[:1] == full.split()[:1]
    assert Captioner("tiny", tiny / "blip").precision == choose_precision("auto", choose_device())


def damage(folder: Path, kind: str) -> None:
    weights = folder / "model.safetensors"
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "not JSON":
        (folder / "config.json").write_text('{"model_type": ')
    elif kind == "another kind of model":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif kind == "no weights":
        weights.unlink()
    elif kind == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "some weights missing":
        tensors = load_file(weights)
        save_file({name: tensors[name] for name in sorted(tensors)[5:]}, weights, {"format": "pt"})


@pytest.mark.parametrize(
    "kind",
    ["no config", "not JSON", "another kind of model", "no weights", "weights cut short", "some weights missing"],
)
def test_a_damaged_folder_is_named_in_one_line(kind: str, tiny: Path, tmp_path: Path) -> None:
    for model in KINDS:
        folder = Path(shutil.copytree(tiny / model, tmp_path / model))
        damage(folder, kind)
        with pytest.raises(ModelError, match=rf"^tiny/{model} cannot be loaded: [^\n]+$"):
            Captioner(f"tiny/{model}", folder)


def test_weights_of_another_architecture_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny / "blip", tmp_path / "model"))
    shutil.copy(tiny / "internvl" / "model.safetensors", folder)
    with pytest.raises(ModelError, match=r"^tiny/other cannot be loaded: [^\n]+$"):
        Captioner("tiny/other", folder)


def test_a_folder_that_is_no_captioner_is_refused(tiny: Path, tmp_path: Path) -> None:
    for folder in (tiny / "clip", tiny / "siglip", tmp_path, tmp_path / "none"):
        with pytest.raises(ModelError, match=r"^some/model cannot be loaded: [^\n]+$"):
            Captioner("some/model", folder)
