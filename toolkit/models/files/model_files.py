"""Finds the files of a model in a folder or on the hub, and checks that they can be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate.utils.memory import should_reduce_batch_size
from huggingface_hub import constants
from transformers.utils import cached_file, logging

from toolkit.artifacts import DiskFullError

_LFS = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class Hub:
    """The version of a model to take from the hub, the access token, and whether the model's own code may run."""

    revision: str | None = None
    """Branch, tag or commit; default: main."""
    token: str | bool | None = field(default=None, repr=False)
    """Access token; default: HF_TOKEN, or that of `hf auth login`."""
    trust_remote_code: bool = False
    """Whether code that the model brings along may run."""

    def options(self) -> dict[str, Any]:
        """Return keywords of transformers' `from_pretrained`, which would else ask whether to run the code."""
        return {each.name: getattr(self, each.name) for each in fields(Hub)}


@dataclass(frozen=True)
class Checkpoint(Hub):
    """The address of a model: a folder or a hub name, with its version and token."""

    name: str | Path
    """Local folder or hub name."""


MAIN = Hub()
"""The newest version, without code of its own."""


def find_file(source: str, name: str, hub: Hub = MAIN) -> Path | None:
    """Return the path of a model's file, downloaded from the hub if need be; None where the model has no such file.

    Raises `ValueError` for an empty file and for a git-LFS pointer in place of one.
    """
    found = cached_file(
        source, name, revision=hub.revision, token=hub.token, _raise_exceptions_for_missing_entries=False
    )
    if found is None:
        return None
    with Path(found).open("rb") as file:
        start = file.read(len(_LFS))
    if not start:
        raise ValueError(f"{found} is empty: copy or download it again")
    if start == _LFS:
        raise ValueError(f"{found} is a git-LFS pointer, not the file itself: run `git lfs pull` in its folder")
    return Path(found)


def check_folder(source: str) -> None:
    """Raise `ValueError` where `source` means a local folder that does not exist, is a file, or cannot be read."""
    folder = Path(source)
    meant_as_path = folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1
    try:
        if folder.is_dir():
            (folder / "config.json").read_bytes()
        elif folder.exists():
            raise ValueError(f"{source!r} is a file: give the folder that holds config.json and the weights")
        elif meant_as_path:
            raise ValueError(f"no model folder at {source!r}: it does not exist. Check the path")
    except PermissionError as error:
        raise ValueError(f"no permission to read {source!r}: check its owner and mode") from error
    except FileNotFoundError as error:
        if (folder / "adapter_config.json").exists():
            raise ValueError(
                f"{source!r} holds a PEFT adapter alone: merge it into its model (`merge_and_unload()`), and give the"
                " folder that save_pretrained writes then"
            ) from error
        raise ValueError(f"{source!r} holds no config.json: give a folder that save_pretrained wrote") from error


@contextmanager
def explaining(source: str, part: str) -> Iterator[None]:
    """Raise `ValueError` in one line that names the model where the block cannot load its `part`."""
    try:
        yield
    except DiskFullError:
        raise
    except UnpicklingError as error:
        raise ValueError(
            f"the {part} of the model in {source!r} hold Python code or are damaged, and code is not run: take a model"
            " with .safetensors files, or save it as such where it can be trusted"
        ) from error
    except Exception as error:  # transformers raises errors of many classes for files that do not fit it
        if should_reduce_batch_size(error):  # out of memory, which is not the files' fault
            raise
        reason = " ".join(f"{error}".split()) or type(error).__name__
        if Path(source).exists():
            raise ValueError(f"cannot load the {part} of the model in {source!r}: {reason}") from error
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise ValueError(
            f"{source!r} is no local folder, and its {part} could not be downloaded from the Hugging Face hub"
            f"{offline}. Connect to the network, or download the model elsewhere and give the path of its "
            f"folder. The hub said: {reason}"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Let transformers show neither bars nor reports inside the block."""
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
