"""Which warnings reach the user of a recipe: this project's own, since users can act on no others."""

import logging
import sys
import warnings

LIBRARIES = ("accelerate", "datasets", "huggingface_hub", "transformers")


class ToolkitWarning(UserWarning):
    """Something that the user can change, or should know of a result."""


def hide_library_warnings() -> None:
    """Show this project's warnings, and of libraries only what they log as an error.

    Whoever asks Python for warnings, as `python -W default` and `python -X dev` do, gets all that was asked for.
    """
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    warnings.simplefilter("default", ToolkitWarning)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
