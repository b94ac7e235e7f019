"""Write a text about a picture, by any of transformers' caption models."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from imgsearch.errors import InputError, ModelError
from imgsearch.models.loading import choose_device, choose_precision, not_loaded

Detail: TypeAlias = Literal["short", "detailed", "question"]
MAX_TOKENS: dict[Detail, int] = {"short": 40, "detailed": 256, "question": 256}
MAX_CAPTION_TOKENS = 64  # of a model that takes no instructions
NUM_BEAMS = 3  # for a detailed caption by a model that takes no instructions
MAX_QUESTION = 500  # characters
PROMPTS: dict[tuple[Detail, str], str] = {
    ("short", "en"): "Describe this picture in one short sentence.",
    ("short", "fr"): "Décris cette image en une courte phrase, en français.",
    ("detailed", "en"): "Describe this picture in detail.",
    ("detailed", "fr"): "Décris cette image en détail, en français.",
    ("question", "en"): "{} Answer in English.",
    ("question", "fr"): "{} Réponds en français.",
}
MAX_S = 120.0  # seconds that a text may take
NO_REPEAT = 3  # tokens that no caption says twice in the same order: small models repeat themselves without end
NO_REPEAT_CHAT = 10  # of an answer, which may say a long name twice, and words of the question


class Captioner:
    """Any model that transformers' AutoModelForImageTextToText can load. Safe to call from several threads.

    A model whose processor has a chat template gets instructions in words. Any other writes a caption, mostly in
    English: a short one greedily, a detailed one with beams.
    """

    def __init__(self, model_id: str, folder: Path, *, precision: str = "auto") -> None:
        """Load the model from a folder. Raise ModelError if that fails."""
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.model_id = model_id  # the model's full name
        self._device = choose_device()
        self.precision = choose_precision(precision, self._device)
        files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = AutoProcessor.from_pretrained(folder, **files)
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=self.precision, weights_only=True, output_loading_info=True, **files
            )
            if report["missing_keys"]:  # the library fills them with random values
                raise ModelError("{num_missing} of its weights are missing.", num_missing=len(report["missing_keys"]))
            self._model = model.to(self._device).eval()
        except Exception as error:
            raise not_loaded(model_id, error) from error
        self._writer = ThreadPoolExecutor(1, "captioner")  # one for all: torch starts threads for each, 0.2 s
        # True if it takes instructions: a detail, a question, a language.
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
        """Yield the growing text about an upright RGB image; with beams only the whole one. End early on `stop()`.

        The same picture gives the same text. Raise InputError if a question is empty, too long or for a model that
        takes none.
        """
        if detail == "question" and not self.is_chat:
            raise InputError(
                "{model} answers no questions. Start with --captioner internvl to ask some.", model=self.model_id
            )
        if detail == "question" and not 0 < len(question.strip()) <= MAX_QUESTION:
            raise InputError("Ask a question of at most {max_characters} characters.", max_characters=MAX_QUESTION)
        read = partial(self.read, image, detail, question.strip(), language)
        options = {
            "max_new_tokens": MAX_TOKENS[detail] if self.is_chat else MAX_CAPTION_TOKENS,
            "num_beams": NUM_BEAMS if detail == "detailed" and not self.is_chat else 1,
            "no_repeat_ngram_size": NO_REPEAT_CHAT if self.is_chat else NO_REPEAT,
            "do_sample": False,
            "max_time": MAX_S,
        }
        return self.write(read, options, stop)

    def read(self, image: Image.Image, detail: Detail = "short", question: str = "", language: str = "en") -> Any:
        """Return the model's input for a picture, on the model's device."""
        if self.is_chat:
            for token in self._processor.tokenizer.get_added_vocab():  # a question must not end the user's turn
                question = question.replace(token, " ")
            # Tiles add detail, but cost thirteen times the tokens.
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
        """Yield the growing text of the library's `generate` for `read()`. Write one text at a time."""
        import torch
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(self._processor, skip_prompt=True, skip_special_tokens=True)
        has_beams, is_abandoned, start = options["num_beams"] > 1, threading.Event(), 0

        def after_token(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            nonlocal start
            start = start or ids.shape[1] - 1  # of the written tokens: the prompt comes first
            return torch.full((len(ids),), is_abandoned.is_set() or stop(), device=ids.device)

        def run() -> None:
            try:
                stream = {} if has_beams else {"streamer": streamer}  # the library streams no beams
                with torch.inference_mode():
                    ids = self._model.generate(**read(), **options, **stream, stopping_criteria=[after_token])
                if has_beams:
                    streamer.on_finalized_text(self._processor.decode(ids[0, start:], skip_special_tokens=True))
            finally:
                streamer.end()

        writing, text = self._writer.submit(run), ""
        try:
            for piece in streamer:
                text += piece.replace("\ufffd", "")  # half a letter at the very end
                if piece.strip():
                    yield text.strip()
            writing.result()
        finally:  # the caller may have stopped reading
            is_abandoned.set()
            if not writing.cancel():
                wait([writing])
