"""Runs a recipe's `main`, and turns a user's mistakes into one readable message."""

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.markup import escape

from toolkit.command_line.interrupts import Interrupted
from toolkit.command_line.last_word import Launcher, Speaker, speaking
from toolkit.library_warnings import hide_library_warnings
from toolkit.models.places.processes import is_first, n_processes
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.settings.parsing import parse
from toolkit.standard_streams import lasting_streams
from toolkit.terminal_text import harmless

Config = TypeVar("Config")
Again = Literal["resume", "continue", "restart"]
"""What the next call does after an interruption: continue if --resume is added, continue without it, or start again."""


def run_recipe(
    main: Callable[[Config], None],
    settings: type[Config] | Callable[[Sequence[str]], Config],
    *,
    again: Again = "restart",
) -> None:
    """Make settings of the command line, and run `main` on them, as `run_main` does.

    `settings` is their class, or what makes them of a command line's arguments. `main` imports what takes seconds by
    itself, so that --help and mistakes are answered at once. It is the only writer of the folders of its settings.
    """

    def run() -> None:
        _led(main, parse(settings) if isinstance(settings, type) else settings(sys.argv[1:]))

    run_main(run, again=again)


@runtime_checkable
class Placed(Protocol):
    """Settings that say where models run."""

    @property
    def where(self) -> Where:
        """Where."""


@runtime_checkable
class Adapting(Protocol):
    """Settings about an adapter, whose models are read in this process alone."""

    @property
    def adapter(self) -> object:
        """Which adapter; None for none."""


@runtime_checkable
class Writing(Protocol):
    """Settings that name the folders which a recipe writes."""

    def outputs(self) -> Sequence[OutputFolder]:
        """Those folders, and what is written in them."""


def _led(main: Callable[[Config], None], config: Config) -> None:
    """Run `main` as the only writer of its folders; of several processes of a launcher, the first holds them.

    Where the settings split layers over processes, the other processes compute their parts for the first.
    Raises `ValueError` for a place where models cannot run, NDIF without a key or an answer among them.
    """
    with ExitStack() as around:
        if isinstance(config, Placed):
            if isinstance(config, Adapting) and config.adapter is not None:
                config.where.check_whole_here()
            around.enter_context(_place(config.where))
        if isinstance(config, Writing) and is_first():
            for folder in config.outputs():
                around.enter_context(folder.held())
        main(config)


@contextmanager
def _place(where: Where) -> Iterator[None]:
    """Be where models can run in the block."""
    if where.remote:
        from toolkit.settings.remote_start import check_remote

        check_remote(where.insecure_host)
    where.check_used()
    if where.tensor_parallel:
        from toolkit.models.places.split import leading

        with leading():
            yield
    else:
        yield


def run_main(main: Callable[[], None], *, again: Again = "resume") -> None:
    """Exit with 0 for success, 2 for bad input, 128 + signal for an interruption, and 1 where training or a job on NDIF
    failed or memory ran out.

    Output in any encoding takes any text; when the reader of the output has gone, the work still runs to its end.
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
    if _is_of_a_job(error):
        advice = go_on
    elif isinstance(error, ValueError | OSError) and not sys.flags.dev_mode:
        code = 2
    elif _is_of_numbers(error):
        said = _with_notes(error)
    elif _is_of_memory(error):
        said, advice = f"error: out of memory ({_with_notes(error)})", go_on
    else:
        if speaker.is_launched:
            speaker.say(_painted("red", _mistake(error, speaker.killed())) + _painted("yellow", go_on))
        raise
    speaker.say(_painted("red", said) + (_painted("yellow", advice) if advice else ""))
    return code


# What raises such errors has imported these modules, which take seconds.


def _is_of_a_job(error: Exception) -> bool:
    """Whether a job on NDIF failed."""
    if not isinstance(error, ConnectionError):
        return False
    from toolkit.models.places.ndif.transport import RemoteJobError

    return isinstance(error, RemoteJobError)


def _is_of_numbers(error: Exception) -> bool:
    """Whether training met NaN or infinity."""
    if not isinstance(error, RuntimeError):
        return False
    from toolkit.dictionaries.activation_batches import NonFiniteError

    return isinstance(error, NonFiniteError)


def _is_of_memory(error: Exception) -> bool:
    """Whether there was too little memory, of this machine or a device."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))


def _mistake(error: Exception, killed: Sequence[str]) -> str:
    """The message for an unforeseen error; it names killed processes, since those that wait for them fail too."""
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
