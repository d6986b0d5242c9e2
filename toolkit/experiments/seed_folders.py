"""The crosscoders that lie beside a run's own: trained on the same stream from other seeds' initial weights."""

import re
from pathlib import Path

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.storage import WEIGHTS_FILE, read_config
from toolkit.dictionaries.weights_with_settings import CONFIG_FILE
from toolkit.settings.run_files import OF_SEEDS, SEED_FOLDER

ALIKE = ("layers", "d_model", "n_latents", "sparsity", "k", "n_shared", "n_exclusive")
"""Settings that the crosscoders of a run and of its null run have in common."""


def seed_folders(folder: Path, own: Crosscoder, seed: int) -> dict[int, Path]:
    """Return the folders of the other crosscoders of a run by seed, whose settings are read and compared.

    `own` is the run's own crosscoder, of that seed. Raises `ValueError` for another that is not whole, and for one that
    was not trained beside it.
    """
    named = (path for path in folder.glob(OF_SEEDS) if re.fullmatch(rf"{SEED_FOLDER}\d+", path.name))
    found = {int(path.name.removeprefix(SEED_FOLDER)): path for path in named}
    for other, path in found.items():
        if missing := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (path / name).is_file()]:
            raise ValueError(
                f"{path} lacks {' and '.join(missing)}: it was not written to its end: go on with the run (--resume),"
                " or remove the folder"
            )
        if other == seed or read_config(path / CONFIG_FILE) != own.config:
            raise ValueError(
                f"{path} holds a crosscoder that was not trained beside the one in {folder}: of other models, settings"
                " or text, or of the run's own seed: move it away"
            )
    return dict(sorted(found.items()))


def check_null(null: Crosscoder, own: Crosscoder, folder: Path) -> None:
    """Raise `ValueError` for the crosscoder of a null run, in `folder`, that was not trained as the run's own was."""
    for name in ALIKE:
        ours, theirs = (getattr(each.config, name) for each in (own, null))
        if ours != theirs:
            raise ValueError(
                f"the null run {folder} has {name} {theirs}, and the run itself has {ours}: what they show does not"
                " compare; train the null run with the same settings"
            )
