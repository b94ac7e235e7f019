"""The errors imgsearch raises. Each message is one plain sentence for the user, with the next step.

ImgsearchError
├── InputError          input of the user that cannot be used
│   ├── PictureError    not a picture, damaged, too large
│   └── SettingsError   an unknown or impossible setting
├── BundleError         a bundle that cannot be opened
├── ModelError          a model that cannot be fetched or loaded
└── BusyError           too many requests at once

A message is a template in English and the values of its fields. So the page can say it in another language: it looks
the template up in `web/locales/` and fills in the same values. No English sentence is ever parsed.
"""

import time


class Message:
    """A sentence for the user: an English template with named fields, and their values.

    A value may be a message itself. `str()` gives the English sentence.

    Example:
        message = Message("{name} has more than {max_mb} MB. Use a smaller one.", name="a.jpg", max_mb=256)
        str(message)  # "a.jpg has more than 256 MB. Use a smaller one."
    """

    def __init__(self, template: str, /, **values: object) -> None:
        self.template, self.values = template, values

    def __str__(self) -> str:
        return self.template.format_map(self.values)


class ImgsearchError(Message, Exception):
    """Root of the tree. Catch it to show any message of this package to the user."""


class InputError(ImgsearchError):
    """Input of the user (a text, a number, a folder) that cannot be used."""


class PictureError(InputError):
    """Bytes or a file that cannot be decoded to a picture within the limits."""


class SettingsError(InputError):
    """A setting that is unknown or has an impossible value."""


class BundleError(ImgsearchError):
    """A bundle that is missing, damaged, of a newer format, or made by another encoder."""


class ModelError(ImgsearchError):
    """A model whose files cannot be fetched, are damaged, or are of a kind that cannot be loaded."""


class BusyError(ImgsearchError):
    """A request that did not get its turn, or was not finished, in time."""


def check_time(begin: float, max_s: float) -> None:
    """Raise BusyError if a query that began then (`time.perf_counter`) has taken longer than it may."""
    if time.perf_counter() - begin > max_s:
        raise BusyError("The query took longer than {seconds:.0f} s. Ask for less, or try again later.", seconds=max_s)
