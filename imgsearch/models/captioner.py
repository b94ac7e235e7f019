"""The seam between the engine and any model that writes a caption; and transformers' image-to-text models behind it."""

import string
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol, TypeAlias

from PIL import Image

from imgsearch.errors import InputError, ModelError, not_loaded
from imgsearch.models.device import choose_device, choose_precision

Detail: TypeAlias = Literal["short", "detailed", "question"]
MAX_TOKENS: dict[Detail, int] = {"short": 40, "detailed": 256, "question": 256}
MAX_CAPTION_TOKENS = 64  # of a model that is not told what to write
NUM_BEAMS = 3  # of a detailed caption by a model that is not told what to write
MAX_QUESTION = 500  # characters
PROMPTS: dict[tuple[Detail, str], str] = {
    ("short", "en"): "Describe this picture in one short sentence.",
    ("short", "fr"): "Décris cette image en une courte phrase, en français.",
    ("detailed", "en"): "Describe this picture in detail.",
    ("detailed", "fr"): "Décris cette image en détail, en français.",
    ("question", "en"): "{} Answer in English.",
    ("question", "fr"): "{} Réponds en français.",
}
LONGEST_LOOP = 40  # words: a longer phrase that is repeated is not looked for


class Captioner(Protocol):
    """Writes a text about a picture. Safe to call from several threads."""

    @property
    def model_id(self) -> str:
        """The model's full name."""
        ...

    @property
    def is_chat(self) -> bool:
        """Whether it takes instructions: a detail, a question, a language."""
        ...

    def describe(
        self,
        image: Image.Image,
        *,
        detail: Detail = "short",
        question: str = "",
        language: str = "en",
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """The text about an upright RGB image so far, growing; beams arrive whole. It ends early where `stop` says so.

        The same picture gives the same text. Raises InputError for a question that cannot be put.
        """
        ...


class HubCaptioner:
    """A `Captioner` over any model that transformers' AutoModelForImageTextToText maps.

    One whose processor has a chat template is told in words what to write. Any other one writes a caption, in English
    mostly: greedily when it is to be short, with beams when it is to be detailed.
    """

    def __init__(self, model_id: str, folder: Path, *, precision: str = "auto") -> None:
        """Load from a folder. Raises ModelError."""
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.model_id = model_id
        self._device = choose_device()
        self.precision = choose_precision(precision, self._device)
        files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = AutoProcessor.from_pretrained(folder, **files)
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=self.precision, weights_only=True, output_loading_info=True, **files
            )
            if report["missing_keys"]:  # which the library makes up
                raise ModelError(f"{len(report['missing_keys'])} of its weights are missing")
            self._model = model.to(self._device).eval()
        except Exception as error:
            raise not_loaded(model_id, error) from error
        self._writer = ThreadPoolExecutor(1, "captioner")  # always the same: a new thread starts torch's anew, 0.2 s
        self.is_chat = bool(getattr(self._processor, "chat_template", None))

    def describe(
        self,
        image: Image.Image,
        *,
        detail: Detail = "short",
        question: str = "",
        language: str = "en",
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """The text so far, growing. Raises InputError for a question that is empty or put to one that takes none."""
        if detail == "question" and not self.is_chat:
            raise InputError(f"{self.model_id} answers no questions. Start with --captioner internvl to ask some.")
        if detail == "question" and not 0 < len(question.strip()) <= MAX_QUESTION:
            raise InputError(f"Ask a question of at most {MAX_QUESTION} characters.")
        read = partial(self.read, image, detail, question.strip(), language)
        options = {
            "max_new_tokens": MAX_TOKENS[detail] if self.is_chat else MAX_CAPTION_TOKENS,
            "num_beams": NUM_BEAMS if detail == "detailed" and not self.is_chat else 1,
            "do_sample": False,
        }
        return without_loops(self.write(read, options, stop))

    def read(self, image: Image.Image, detail: Detail = "short", question: str = "", language: str = "en") -> Any:
        """What the model takes in, on its device."""
        if self.is_chat:
            for token in self._processor.tokenizer.get_added_vocab():  # a question must not end the user's turn
                question = question.replace(token, " ")
            # Tiles bring details and cost thirteen times the tokens.
            has_tiles = hasattr(self._processor.image_processor, "crop_to_patches")
            tiles = {"crop_to_patches": detail == "detailed" and self._device == "cuda"} if has_tiles else {}
            prompt = PROMPTS[detail, language if language == "fr" else "en"].format(question)
            content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
            inputs = self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=tiles,
            )
        else:
            inputs = self._processor(images=image, return_tensors="pt")
        return inputs.to(self._device, dtype=self._model.dtype)

    def write(
        self, read: Callable[[], Any], options: dict[str, Any], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[str]:
        """The text so far after each token of the library's `generate`, about what `read` gives; one text at a time."""
        import torch

        texts: SimpleQueue[str | Exception | None] = SimpleQueue()
        is_left = threading.Event()
        start = 0  # of what is written: the prompt comes first

        def after_token(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            nonlocal start
            start = start or ids.shape[1] - 1
            if options["num_beams"] == 1:
                texts.put(self._decode(ids[0, start:]))
            return torch.full((len(ids),), is_left.is_set() or stop(), device=ids.device)

        def run() -> None:
            try:
                with torch.inference_mode():
                    ids = self._model.generate(**read(), **options, stopping_criteria=[after_token])
                texts.put(self._decode(ids[0, start:]))
                texts.put(None)
            except Exception as error:
                texts.put(error)

        writing = self._writer.submit(run)
        try:
            while (text := texts.get()) is not None:
                if isinstance(text, Exception):
                    raise text
                yield text
        finally:  # whoever listens may have gone
            is_left.set()
            if not writing.cancel():
                wait([writing])

    def _decode(self, ids: Any) -> str:
        return str(self._processor.decode(ids, skip_special_tokens=True)).replace("\ufffd", "").strip()


def without_loops(texts: Iterator[str]) -> Iterator[str]:
    """The growing texts less any phrase that is said over and over; with it, the text ends.

    Words that may be the start of a loop are held back until it is clear that they are not, and the last word, which
    may be going on, until the next one or the end. Punctuation does not tell two words apart.
    """
    shown, num_read, count, is_loop = "", 0, 0, False
    for text, is_whole in _with_end(texts):
        words = [word.strip(string.punctuation) or word for word in text.split()]
        while num_read < len(words) - (not is_whole) and not is_loop:
            num_read += 1
            count, is_loop = repeated_words(words[:num_read])
        num_safe = num_read if is_whole and not is_loop else num_read - count
        safe = text.rsplit(maxsplit=len(words) - num_safe)[0] if num_safe else ""
        if len(safe) > len(shown):
            shown = safe
            yield shown
        if is_loop:
            return


def _with_end(texts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Each text, and the last one again; whether it is whole."""
    text = ""
    for text in texts:
        yield text, False
    yield text, True


def repeated_words(words: list[str]) -> tuple[int, bool]:
    """How many words at the end repeat those before them, and whether that makes a loop.

    A loop is a phrase of three words or more said twice in a row, a shorter one three times.
    """
    longest = 0
    for period in range(1, min(LONGEST_LOOP, len(words) - 1) + 1):
        count = 0
        while count < len(words) - period and words[-1 - count] == words[-1 - count - period]:
            count += 1
        if count >= (period if period >= 3 else 2 * period):
            return count, True
        longest = max(longest, count)
    return longest, False
