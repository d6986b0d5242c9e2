"""Runs a recipe's `main`, and turns a user's mistakes into one readable message."""

import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal, Protocol, TypeVar, runtime_checkable

from accelerate.utils.memory import should_reduce_batch_size
from rich.console import Console
from rich.markup import escape

from toolkit.dictionaries.non_finite import NonFiniteError
from toolkit.library_warnings import hide_library_warnings
from toolkit.models.processes import is_first, n_processes
from toolkit.models.tensor_parallel import leading
from toolkit.models.transport import RemoteJobError
from toolkit.outputs import OutputFolder
from toolkit.runs.interrupts import Interrupted
from toolkit.runs.models import ModelAccess
from toolkit.runs.parsing import parse
from toolkit.terminal_text import harmless

Config = TypeVar("Config")
Again = Literal["resume", "continue", "restart"]
"""What the next call does after an interruption: go on if --resume is added, go on as it is, or begin again."""


def run_recipe(main: Callable[[Config], None], config: type[Config], *, again: Again = "restart") -> None:
    """Parse the command line, and run `main` on its settings as `run_main` does."""
    run_main(lambda: led(main, parse(config)), again=again)


@runtime_checkable
class Writing(Protocol):
    """Settings that say which folders are written."""

    def outputs(self) -> Sequence[OutputFolder]:
        """Those folders, and what is written in them."""


def led(main: Callable[[Config], None], config: Config) -> None:
    """Run `main` as the only writer of its folders, of which the first process of a launcher's takes care.

    Where the settings split layers over processes, the others are at its service.
    """
    split = isinstance(config, ModelAccess) and config.tensor_parallel
    with ExitStack() as around:
        if split:
            around.enter_context(leading())
        if isinstance(config, Writing) and is_first():
            for folder in config.outputs():
                around.enter_context(folder.held())
        main(config)


def run_main(main: Callable[[], None], *, again: Again = "resume") -> None:
    """Exit with 0 for success, 2 for bad input, 1 for training that failed, a job on NDIF that did, or want of memory,
    128 + signal for an interruption.

    Under `python -X dev` errors keep their tracebacks, and warnings their place in the code.
    """
    hide_library_warnings()
    if not sys.flags.dev_mode:
        warnings.formatwarning = lambda message, *_, **__: f"warning: {harmless(str(message))}\n"
    try:
        main()
    except Interrupted as stop:
        _say("yellow", f"{stop}. {_next_command(again)}")
        sys.exit(stop.exit_code)
    except KeyboardInterrupt as stop:
        _say("yellow", f"{_with_notes(stop, 'stopped by SIGINT')}. {_next_command(again)}")
        sys.exit(130)
    except NonFiniteError as error:
        _say("red", _with_notes(error))
        sys.exit(1)
    except RemoteJobError as error:
        _say("red", f"error: {_with_notes(error)}")
        _say("yellow", _next_command(again))
        sys.exit(1)
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise
        _say("red", f"error: out of memory ({_with_notes(error)})")
        _say("yellow", _next_command(again))
        sys.exit(1)
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        _say("red", f"error: {_with_notes(error)}")
        sys.exit(2)


def _with_notes(error: BaseException, said: str | None = None) -> str:
    return "\n".join([said or str(error), *getattr(error, "__notes__", [])])


def _next_command(again: Again) -> str:
    arguments = sys.argv
    if again == "resume":
        arguments = [*(each for each in arguments if each not in ("--overwrite", "--resume")), "--resume"]
    verb = "Begin again" if again == "restart" else "Go on"
    split = "--tensor-parallel" in arguments
    start = ["torchrun", "--nproc-per-node", str(n_processes()), "--"] if split else ["python"]
    return f"{verb} with: {shlex.join([*start, *arguments])}"


def _say(style: str, text: str) -> None:
    Console(stderr=True).print(f"[{style}]{escape(harmless(text))}[/{style}]", highlight=False, soft_wrap=True)
