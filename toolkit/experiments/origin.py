"""Where findings came from: the models, crosscoders, text and other files that were read, each with its hash."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.artifacts import provenance, sha256
from toolkit.dictionaries.formats import find_checkpoint
from toolkit.dictionaries.storage import WEIGHTS_FILE
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.opening import models_of
from toolkit.experiments.run import Run
from toolkit.fields import leaves
from toolkit.models.presets import in_checkout


def origin_of(settings: Any, opened: Any) -> dict[str, Any]:
    """What findings came from: models, crosscoder and text where there are any, and files that the settings name.

    Of crosscoders of other seeds, and of a null run, those that were opened are among them.
    """
    run = opened if isinstance(opened, Run | AdapterRun) else None
    models = models_of(opened)
    files = _given_files(settings)
    if isinstance(run, AdapterRun):
        files |= {in_checkout(path): word for path, word in run.adapter_files().items()}
    for folder in run.opened_folders if isinstance(run, Run) else ():
        files |= dictionary_file(folder)
    return provenance(
        seed=getattr(settings, "seed", None),
        data=run.corpus.origin if run else {},
        inputs=models.files() | files if models else files,
        models=models.fingerprints() if models else {},
    )


def _given_files(settings: object) -> dict[str, str]:
    """Sha256 of every file that the settings name."""
    named = (value for _, value in leaves(settings))
    return _hashes(path for path in named if isinstance(path, Path) and path.is_file())


def dictionary_file(folder: Path) -> dict[str, str]:
    """Sha256 of a crosscoder's weights; of a hub repository its name."""
    if not folder.exists():
        return {str(folder): "hub repository"}
    return _hashes([(find_checkpoint(folder) or folder / WEIGHTS_FILE) if folder.is_dir() else folder])


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {in_checkout(path): sha256(path) for path in paths}
