"""Opens an adapter in any layout that is known: a folder of this toolkit's, or a published checkpoint."""

from pathlib import Path

from toolkit.adapters.published import is_published, read_published
from toolkit.artifacts import sha256
from toolkit.dictionaries.adapter_storage import ADAPTER_FILE, load_adapter
from toolkit.dictionaries.storage import WEIGHTS_FILE
from toolkit.dictionaries.transcoders import Adapter
from toolkit.models.files.identity import file_hashes
from toolkit.models.files.model_files import Checkpoint
from toolkit.models.sources import Source, find_sources

EXPECTED = (
    f"an adapter is a folder with {ADAPTER_FILE} and config.json, as train_adapter.py writes them, or a published"
    " checkpoint of transcoder adapters, in a folder or on the hub"
)


def open_adapter(source: str | Path | Checkpoint) -> Adapter:
    """Read the adapter in a folder, such as a run's, or of a published checkpoint in a folder or on the hub.

    A `Checkpoint` names a version on the hub. `adapter.config.assumptions` says how a published checkpoint was read.
    Raises `FileNotFoundError` for a folder that does not exist, and `ValueError` for one that holds something else, or
    files that cannot be read.
    """
    found = _source(source)
    folder = Path(found.name)
    if (folder / ADAPTER_FILE).is_file():
        return load_adapter(folder)
    _check_holds_one(folder)
    if not is_published(found.config()):
        raise ValueError(f"{found.name} holds a model without transcoders: {EXPECTED}")
    return read_published(found)


def adapter_files(source: str | Path | Checkpoint) -> dict[str, str]:
    """Sha256 of each file that an adapter's weights are read from; the commit of a checkpoint on the hub too."""
    found = _source(source)
    if (own := Path(found.name) / ADAPTER_FILE).is_file():
        return {str(own): sha256(own)}
    return file_hashes(found.name, found.hub)


def _source(source: str | Path | Checkpoint) -> Source:
    (found,) = find_sources({"adapter": source})
    return found


def _check_holds_one(folder: Path) -> None:
    """Raise an error for a path that cannot be an adapter's."""
    name = str(folder)
    if folder.is_file():
        raise ValueError(f"{name} is a file: {EXPECTED}")
    if not folder.exists():
        if folder.is_absolute() or name.count("/") != 1:
            raise FileNotFoundError(f"{name} does not exist: {EXPECTED}")
        return
    if (folder / WEIGHTS_FILE).is_file():
        raise ValueError(f"{name} holds a crosscoder, no adapter: give it to a recipe about crosscoders")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{name} holds no adapter: {EXPECTED}")
