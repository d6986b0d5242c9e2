"""Runs a recipe's `main`, and turns a user's mistakes into one readable message."""

import shlex
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from transformers.utils import logging

from toolkit.dictionaries.training import NonFiniteError
from toolkit.runs.interrupts import Interrupted


def run_main(main: Callable[[], None]) -> None:
    """Exit with 0 for success, 2 for bad input, 1 for training that failed, 128 + signal for an interruption.

    Under `python -X dev` errors keep their tracebacks.
    """
    logging.disable_progress_bar()  # of weights being loaded; downloads keep theirs
    try:
        main()
    except Interrupted as stop:
        _say("yellow", f"{stop}. Go on with: {_resume_command()}")
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        _say("yellow", f"stopped by SIGINT. Go on with: {_resume_command()}")
        sys.exit(130)
    except NonFiniteError as error:
        _say("red", "\n".join([str(error), *getattr(error, "__notes__", [])]))
        sys.exit(1)
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        _say("red", f"error: {error}")
        sys.exit(2)


def _resume_command() -> str:
    arguments = [argument for argument in sys.argv if argument not in ("--overwrite", "--resume")]
    return shlex.join(["python", *arguments, "--resume"])


def _say(style: str, text: str) -> None:
    Console(stderr=True).print(f"[{style}]{escape(text)}[/{style}]", highlight=False, soft_wrap=True)
