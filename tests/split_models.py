"""What is asked of two models whose layers are whole, or split over the processes that `rank_processes` starts."""

import gc
import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnsight.modeling.transformers import TransformersModel
from packaging.version import Version
from torch import Tensor

from toolkit.models.model.edits import Edit
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.unembedding import direction_logits
from toolkit.models.pair import ModelPair
from toolkit.models.places.here import Here
from toolkit.models.places.split import Split, leading
from toolkit.models.sources import find_sources
from toolkit.models.where import Where
from toolkit.stitching.maps import identity_map
from toolkit.stitching.stitch import Stitch

needs_traceable_parts = pytest.mark.skipif(
    Version(version("transformers")) >= Version("5.23"), reason="nnsight cannot trace what this transformers has split"
)


def answers(folders: tuple[Path, Path], batch: tuple[Tensor, Tensor], *, split: bool) -> dict[str, Any]:
    """Everything that a pair can be asked."""
    ids, mask = batch
    sources: dict[str, Any] = {"base": str(folders[0]), "distilled": str(folders[1])}
    where = Where(tensor_parallel=split)
    to_site = ModelPair.open(find_sources(sources), layers=[2], where=where, depth=2)
    found: dict[str, Any] = {"selected": to_site.selected(ids, mask, mask.bool())}
    to_site.free()
    pair = ModelPair.from_pretrained(**sources, layers=[2], where=where)
    with pytest.raises(ValueError, match="layer 99"):
        pair.base.residual(ids, mask, [99])
    if split:
        for read in (pair.base.logits, lambda *rows, past: pair.base.residual(*rows, [2], past=past)):
            with pytest.raises(ValueError, match="without past"):
                read(ids, mask, past=pair.base.empty_cache())
    edit = Edit(layer=1, function=lambda stream, one: stream + one, operands=(torch.ones(1, 1, pair.d_model),))
    sampling = Sampling(new_tokens=6, temperature=1.0, seeds=(1, 2))
    return found | {
        "residual": pair.residual(ids, mask),
        "edited": pair.base.residual(ids, mask, [2], edit=edit)[0],
        "logits": pair.base.logits(ids, mask, edit=edit, last=3),
        "stitched": pair.distilled.logits(ids, mask, edit=Stitch(pair.base, identity_map(pair.d_model), 2), last=1),
        "two edits": pair.base.logits(ids, mask, edit=edit + replace(edit, layer=2), last=3),
        "measured": measure(pair.distilled, ids, mask, [None, edit], next_log_probability, (ids,), unchanged=0),
        "words": direction_logits(pair.base, torch.eye(pair.d_model)[:3]),
        "written": pair.distilled.generate_ids([[5, 6, 7], [8]], edit=edit, sampling=sampling),
    }


def count_models(_: object, __: object, folder: Path) -> None:
    """Leave in a file how many models this process has in memory."""
    gc.collect()
    models = sum(isinstance(each, Here) for each in gc.get_objects())
    (folder / f"models-{os.environ['RANK']}").write_text(str(models))


def free_some(folders: tuple[Path, Path], folder: Path) -> None:
    """Open three pairs, free one, forget another, and count the models that are left."""
    sources = {"base": str(folders[0]), "distilled": str(folders[1])}
    with leading():
        freed, forgotten, kept = (
            ModelPair.from_pretrained(**sources, where=Where(tensor_parallel=True)) for _ in range(3)
        )
        freed.free()
        del freed, forgotten
        gc.collect()
        kept.base.run(count_models, folder)


def load_on_the_first_alone(folder: Path, said: Path) -> None:
    """Leave what the first process hears when the other cannot load its part; then it opens another model."""
    with leading():
        try:
            Split(_refuse_elsewhere)
        except ValueError as error:
            said.write_text(str(error))
        ModelPair.from_pretrained(base=str(folder), distilled=str(folder), where=Where(tensor_parallel=True))


def _refuse_elsewhere(**_: object) -> TransformersModel:
    if os.environ["RANK"] == "0":
        return SimpleNamespace()
    raise ValueError("no such folder here")


def fail_alone(folders: tuple[Path, Path], batch: tuple[Tensor, Tensor], file: Path) -> None:
    """Let the first process fail in the middle of a pass; it leaves what it hears of that, and of the next pass."""
    with leading(), file.open("w") as said:
        pair = ModelPair.from_pretrained(
            base=str(folders[0]), distilled=str(folders[1]), where=Where(tensor_parallel=True)
        )
        pair.base.model._module.model.layers[1].mlp.register_forward_pre_hook(_fail)
        for _ in range(2):
            try:
                pair.base.residual(*batch, [2])
            except (RuntimeError, ValueError) as error:
                print(error, file=said)
        raise KeyboardInterrupt


def _fail(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def ask_split_models(folders: tuple[Path, Path], batch: tuple[Tensor, Tensor], file: Path) -> None:
    """Leave the answers in a file."""
    with leading():
        torch.save(answers(folders, batch, split=True), file)
