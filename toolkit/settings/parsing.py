"""A command line to settings."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from types import TracebackType
from typing import Any, TypeVar

import tyro

Config = TypeVar("Config")


def parse(kind: type[Config], arguments: Sequence[str] | None = None, **options: Any) -> Any:
    """What `tyro.cli` makes of a command line, by default this process's; flags stand without the names of parts.

    tyro says what it cannot read, and exits with 2. Raises `ValueError` for values that the settings themselves refuse:
    it would frame their message, and leave the caller without it.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                kind, args=arguments, config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff), **options
            )
    except SystemExit as stopped:
        if refused := _refused(stopped):
            raise ValueError(str(refused)) from None
        sys.stderr.write(said.getvalue())
        raise


def _refused(error: BaseException) -> ValueError | None:
    """The error that this project's own code raised and tyro met, if there was one."""
    while (before := error.__context__) is not None:
        error = before
        if isinstance(error, ValueError) and error.__traceback__ and _is_ours(error.__traceback__):
            return error
    return None


def _is_ours(traceback: TracebackType) -> bool:
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("toolkit.")
