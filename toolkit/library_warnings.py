"""Hides the warnings of libraries from users of a recipe, who cannot act on them, and shows this project's own."""

import logging
import sys
import warnings

LIBRARIES = ("accelerate", "datasets", "huggingface_hub", "transformers")


class ToolkitWarning(UserWarning):
    """Something that the user can change, or should know of a result."""


def hide_library_warnings() -> None:
    """Show this project's warnings, and only those messages of libraries that are logged as errors.

    Under `python -W ...` and `python -X dev` Python's own settings stay as they are.
    """
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    warnings.simplefilter("default", ToolkitWarning)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
