"""What is asked of two models whose layers are whole, or split over the processes that `rank_processes` starts."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor

from toolkit.models.edits import Edit
from toolkit.models.generation import Sampling
from toolkit.models.measuring import measure
from toolkit.models.pair import ModelPair
from toolkit.models.reductions import next_log_probability
from toolkit.models.tensor_parallel import leading
from toolkit.models.unembedding import direction_logits

needs_traceable_parts = pytest.mark.skipif(
    Version(version("transformers")) >= Version("5.23"), reason="nnsight cannot trace what this transformers has split"
)


def answers(folders: tuple[Path, Path], batch: tuple[Tensor, Tensor], *, split: bool) -> dict[str, Any]:
    """Everything that a pair can be asked."""
    ids, mask = batch
    sources: dict[str, Any] = {"base": str(folders[0]), "distilled": str(folders[1]), "layers": [2]}
    to_site = ModelPair.from_pretrained(**sources, depth=2, tensor_parallel=split)
    found: dict[str, Any] = {"selected": to_site.selected(ids, mask, mask.bool())}
    to_site.let_go()
    pair = ModelPair.from_pretrained(**sources, tensor_parallel=split)
    with pytest.raises(ValueError, match="layer 99"):
        pair.base.residual(ids, mask, [99])
    if split:
        with pytest.raises(ValueError, match="without past"):
            pair.base.logits(ids, mask, past=pair.base.empty_cache())
    edit = Edit(layer=1, function=torch.add, operands=(torch.ones(1, 1, pair.d_model),))
    sampling = Sampling(new_tokens=6, temperature=1.0, seeds=(1, 2))
    return found | {
        "residual": pair.residual(ids, mask),
        "edited": pair.base.residual(ids, mask, [2], edit=edit)[0],
        "logits": pair.base.logits(ids, mask, edit=edit, last=3),
        "measured": measure(pair.distilled, ids, mask, [None, edit], next_log_probability, (ids,), unchanged=0),
        "words": direction_logits(pair.base, torch.eye(pair.d_model)[:3]),
        "written": pair.distilled.generate_ids([[5, 6, 7], [8]], edit=edit, sampling=sampling),
    }


def ask_split_models(folders: tuple[Path, Path], batch: tuple[Tensor, Tensor], file: Path) -> None:
    """Leave the answers in a file."""
    with leading():
        torch.save(answers(folders, batch, split=True), file)
