"""Runs a recipe's `main`, and turns a user's mistakes into one readable message."""

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal, Protocol, TypeVar, runtime_checkable

from accelerate.utils.memory import should_reduce_batch_size
from rich.console import Console
from rich.markup import escape

from toolkit.command_line.interrupts import Interrupted
from toolkit.command_line.last_word import Launcher, Speaker, speaking
from toolkit.dictionaries.non_finite import NonFiniteError
from toolkit.library_warnings import hide_library_warnings
from toolkit.models.places.ndif.transport import RemoteJobError
from toolkit.models.places.processes import is_first, n_processes
from toolkit.models.places.split import leading
from toolkit.outputs import OutputFolder
from toolkit.settings.models import ModelAccess
from toolkit.settings.parsing import parse
from toolkit.standard_streams import lasting_streams
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

    Any stream takes any text; where nobody reads the output any more, the work goes on to its usual end.
    Under `python -X dev` errors keep their tracebacks, and warnings their place in the code. Of several processes that
    a launcher started, one says why the run ended, once the launcher has ended too.
    """
    hide_library_warnings()
    if not sys.flags.dev_mode:
        warnings.formatwarning = lambda message, *_, **__: f"warning: {harmless(str(message))}\n"
    launcher = Launcher.find()
    go_on = _next_command(again, launcher)
    with speaking(launcher, _painted("yellow", f"a process of this run was killed. {go_on}")) as speaker:
        try:
            with lasting_streams():
                main()
        except SystemExit as stop:
            if speaker.is_launched and stop.code == 2:
                speaker.say(_painted("red", "error: the command line cannot be used, for the reason given above"))
            raise
        except (Exception, KeyboardInterrupt) as error:
            sys.exit(_say_why(error, go_on, speaker))


def _say_why(error: Exception | KeyboardInterrupt, go_on: str, speaker: Speaker) -> int:
    """Say what ended the run, and return the exit code; raises again what is a mistake of our own."""
    if isinstance(error, Interrupted):
        speaker.say(_painted("yellow", f"{error}. {go_on}"))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        speaker.say(_painted("yellow", f"{_with_notes(error, 'stopped by SIGINT')}. {go_on}"))
        return 130
    said, later = f"error: {_with_notes(error)}", f"Once that is put right, {go_on[0].lower()}{go_on[1:]}"
    code, advice = 1, later if speaker.is_launched else ""
    if isinstance(error, NonFiniteError):
        said = _with_notes(error)
    elif isinstance(error, RemoteJobError):
        advice = go_on
    elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and should_reduce_batch_size(error)):
        said, advice = f"error: out of memory ({_with_notes(error)})", go_on
    elif isinstance(error, ValueError | OSError) and not sys.flags.dev_mode:
        code = 2
    else:
        if speaker.is_launched:
            speaker.say(_painted("red", _mistake(error, speaker.killed())) + _painted("yellow", go_on))
        raise
    speaker.say(_painted("red", said) + (_painted("yellow", advice) if advice else ""))
    return code


def _mistake(error: Exception, killed: Sequence[str]) -> str:
    """What an error that nobody foresaw is about: others that were killed are missed by those that wait for them."""
    if killed:
        return f"error: process {' and '.join(killed)} of this run was killed"
    return f"error: {type(error).__name__}: {_with_notes(error)}"


def _with_notes(error: BaseException, said: str | None = None) -> str:
    return "\n".join([said or str(error), *getattr(error, "__notes__", [])])


def _next_command(again: Again, launcher: Launcher | None) -> str:
    arguments = sys.argv
    if again == "resume":
        arguments = [*(each for each in arguments if each not in ("--overwrite", "--resume")), "--resume"]
    verb = "Begin again" if again == "restart" else "Go on"
    start: Sequence[str] = ["python"]
    if launcher is not None:
        start = launcher.start
    elif n_processes() > 1:
        start = ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", str(n_processes())), "--"]
    return f"{verb} with: {shlex.join([*start, *arguments])}"


def _painted(style: str, text: str) -> str:
    """A text as stderr shows it, to the end of its line."""
    console = Console(stderr=True)
    with console.capture() as painted:
        console.print(f"[{style}]{escape(harmless(text))}[/{style}]", highlight=False, soft_wrap=True)
    return painted.get()
