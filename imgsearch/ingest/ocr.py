"""`TextReader`: read what is written in pictures, by RapidOCR and the models in its package. Nothing is fetched."""

from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from imgsearch.errors import InputError, ModelError, PictureError
from imgsearch.images import open_rgb

INSTALL = 'pip install "rapidocr>=3.10,<4" "onnxruntime>=1.32,<2"'
SIDE, MIN_SIDE = 1600, 736  # pixels of the longer side at most, and of the shorter one at least, if that allows it
MIN_CONFIDENCE = 0.8  # of a line, 0..1


class TextReader:
    """Reads pictures. Safe to call from several threads; each call takes one core."""

    def __init__(self) -> None:
        """Load the models. Raise InputError if RapidOCR is not installed, ModelError if its models are not whole."""
        try:
            import rapidocr

            models = Path(rapidocr.__file__).parent / "models"
            # With paths of its own RapidOCR loads these files or fails; else it fetches what it misses.
            options: dict[str, Any] = {"Global.text_score": MIN_CONFIDENCE, "Global.log_level": "critical"}
            for name, pattern in (("Det", "*_det_*.onnx"), ("Cls", "*_cls_*.onnx"), ("Rec", "*_rec_*.onnx")):
                options[f"{name}.model_path"] = str(next(models.glob(pattern), models / pattern))
            options |= {"Det.limit_type": "max", "Det.limit_side_len": SIDE}  # else a narrow strip grows to gigabytes
            options["EngineConfig.onnxruntime.intra_op_num_threads"] = 1
            self._engine = rapidocr.RapidOCR(params=options)
            for use_det in (False, True):  # it loads the models when they are first used
                self._engine(Image.new("RGB", (64, 64)), use_det=use_det)
        except ImportError:
            raise InputError("Texts in pictures are read by RapidOCR. Install it: {command}", command=INSTALL) from None
        except Exception as error:
            template = "The models of RapidOCR are missing or damaged ({reason}). Install it again: {command}"
            raise ModelError(template, reason=f"{error!r:.80}", command=INSTALL) from error

    def read(self, data: bytes) -> str:
        """Return what is written in a picture, line by line from its top; "" for nothing. Raise PictureError."""
        image = open_rgb(data, "It", side=SIDE)
        scale = min(SIDE / max(image.size), max(1.0, MIN_SIDE / min(image.size)))
        width, height = (max(1, round(scale * side)) for side in image.size)
        try:
            found = self._engine(image.resize((width, height), Image.Resampling.BICUBIC), use_det=True)
        except Exception as error:  # of any of the libraries beneath
            raise PictureError("RapidOCR fails on it.") from error
        lines = getattr(found, "txts", None) or ()
        return " ".join(line for line in lines if len(line) > 1)  # a single letter is mostly no letter at all


text_reader = cache(TextReader)  # returns the one of this process; raises as `TextReader` does
