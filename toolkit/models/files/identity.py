"""Tells models apart by their content: one fingerprint for each model, and the sha256 of each of its files.

Two models have the same fingerprint where the bytes of their weights files are the same, whatever the names and places
of the files, and so are the settings in config.json that decide what is computed. The same tensors saved again in
other shards, or as another type of file, count as another model.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from filecmp import cmp
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils import is_peft_available

from toolkit.artifacts import digest, read_json_object, sha256
from toolkit.models.files.loading import read_config
from toolkit.models.files.model_files import MAIN, Hub, find_file
from toolkit.models.files.weight_files import weight_files
from toolkit.tracking import track

NOT_COMPUTED_WITH = frozenset(
    "_name_or_path architectures bos_token_id eos_token_id initializer_range pad_token_id transformers_version"
    " use_cache".split()
)
"""Settings that change no activation, such as the version that saved the model, or where generation ends."""
STILL_WRITTEN = 2 * 10**9  # ns in which a file may change without a change of its time


def fingerprint(source: str, hub: Hub = MAIN, *, remote: bool = False) -> str:
    """Return a string that changes only with the weights and the settings of the model at `source`.

    For a model from the hub it also holds the commit. The weights of a `remote` model are not on this machine: its
    string is the commit, or the sha256 of a local config.json. Raises `ValueError` for files that cannot be loaded.
    """
    if remote:
        return _remote(source, hub)
    found = f"sha256 {digest([sorted(_hashes(source, hub).values()), settings(read_config(source, hub))])}"
    return found if Path(source).is_dir() else f"{_commit(source, hub)}, {found}"


def fingerprint_of_module(module: nn.Module) -> str:
    """Return the fingerprint of a model in memory: of its tensors by name, and of its config where it has one."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    config = getattr(module, "config", None)
    return f"tensors {digest([hashed.hexdigest(), settings(config) if config is not None else None])}"


def file_hashes(source: str, hub: Hub = MAIN, *, remote: bool = False) -> dict[str, str]:
    """Return the sha256 of each file that the weights at `source` are read from; the commit of a hub model too."""
    local = Path(source).is_dir()
    if remote:
        return {str(Path(source) / "config.json") if local else source: _remote(source, hub)}
    return ({} if local else {source: _commit(source, hub)}) | _hashes(source, hub)


def same_weights(source: str, other: str, hubs: Sequence[Hub] = (MAIN, MAIN)) -> bool:
    """Whether two models are read from files of the same bytes; stops reading at the first difference."""
    if source == other:
        return hubs[0] == hubs[1]
    if not (Path(source).is_dir() and Path(other).is_dir()):
        return False
    ours, theirs = (sorted(_files(each, hub)) for each, hub in zip((source, other), hubs, strict=True))
    return len(ours) == len(theirs) and all(map(partial(cmp, shallow=False), ours, theirs))


def _files(source: str, hub: Hub) -> list[Path]:
    """Return the files that transformers reads the weights from; of an adapter also those of the model it adapts."""
    adapter = Path(source) / "adapter_config.json"
    if adapter.is_file() and is_peft_available():
        base = read_json_object(adapter).get("base_model_name_or_path")
        under = base if isinstance(base, str) and Path(base).is_dir() else source
        return [adapter, *adapter.parent.glob("adapter_model.*"), *weight_files(under, read_config(under, hub), hub)]
    return weight_files(source, read_config(source, hub), hub)


def settings(config: PreTrainedConfig) -> dict[str, Any]:
    """Return a config's settings that differ from its class's defaults, without those that change no activation."""
    try:
        defaults: Mapping[str, Any] = type(config)().to_dict()
    except (TypeError, ValueError):  # a config made of other configs
        defaults = {}
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in NOT_COMPUTED_WITH and (name == "model_type" or value != defaults.get(name))
    }


def _commit(source: str, hub: Hub) -> str:
    config = find_file(source, "config.json", hub)
    assert config is not None, "a model has a config"
    return f"commit {config.parent.name}"  # the hub's cache has a folder for each commit


def _remote(source: str, hub: Hub) -> str:
    if Path(source).is_dir():
        return f"remote, sha256 of the config here {sha256(Path(source) / 'config.json')}"
    return f"remote, {_commit(source, hub)}"


@contextmanager
def hashing_beside(sources: Sequence[str]) -> Iterator[None]:
    """Hash the files of each of the models while the block runs, so that `fingerprint` and `file_hashes` need not.

    Files that are not begun when the block ends, however it does, are left to these two, which show how far they are.
    """
    ended = threading.Event()

    def hash_files(source: str) -> None:
        with suppress(Exception):  # those two will meet it again, and say it
            for path in sorted(_files(source, MAIN)):
                if ended.is_set():
                    return
                _hash(path)

    threads = [threading.Thread(target=hash_files, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _hashes(source: str, hub: Hub) -> dict[str, str]:
    files = sorted(_files(source, hub))
    sizes = {path: path.stat().st_size for path in files}
    hashed = track(files, "hashing", "bytes", total=sum(sizes.values()), size=sizes.__getitem__)
    return {str(path): _hash(path) for path in hashed}


def _hash(path: Path) -> str:
    """Return the sha256 of a file; a file that has not changed is read once."""
    there = path.stat()
    if time.time_ns() - there.st_mtime_ns < STILL_WRITTEN:
        return sha256(path)
    return _remembered(path.resolve(), there.st_ino, there.st_size, there.st_mtime_ns)


@lru_cache(maxsize=1024)
def _remembered(path: Path, *_: int) -> str:
    return sha256(path)
