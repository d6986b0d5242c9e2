"""Models, dictionaries and tensors of one device, the same ones on every device."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import toolkit
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import splice
from toolkit.models.model.edits import Edit
from toolkit.stitching.maps import AffineMap


class Things:
    """What calls need: each is made when it is first asked for, or drawn from one seed."""

    def __init__(self, device: torch.device, models: Mapping[str, Path], folder: Path) -> None:
        self.device, self.models, self.folder = device, {name: str(path) for name, path in models.items()}, folder
        self.chance = torch.Generator().manual_seed(0)
        self.x, self.more_x = self._normal(96, 2, 32), self._normal(64, 2, 32)
        self.stream, self.point, self.points = self._normal(3, 12, 32), self._normal(32), self._normal(3, 32)
        self.codes, self.values = self._normal(96, 64).relu(), self._normal(26, 32)
        self.scale, self.nrn = self._normal(24), self._normal(64).sigmoid()
        self.ids = torch.randint(0, 40, (3, 12), generator=self.chance).to(device)
        self.mask = (torch.arange(12) < torch.tensor([[12], [9], [5]])).long().to(device)
        self.y, self.documents = (torch.arange(96) % 2).to(device), (torch.arange(96) // 8).to(device)
        self.order, self.latents = torch.tensor([2, 0, 1]).to(device), torch.tensor([3, 8]).to(device)
        self.map = AffineMap(weight=self._normal(32, 32), bias=self._normal(32), first_bias=self._normal(32))
        self.layer = toolkit.HarmonicLinear(32, 3, exponent=4.0).to(device)
        self.layer.weight.data.copy_(self._normal(3, 32))
        self.chosen, self.batch = self.mask.bool(), TokenBatch(self.ids, self.mask)
        self.transcoder = self.adapter[1]

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.chance).to(self.device)

    @cached_property
    def pair(self) -> toolkit.ModelPair:
        pair = toolkit.ModelPair.from_pretrained(**self.models, layers=[2], where=str(self.device))
        pair.tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
        return pair

    @cached_property
    def crosscoder(self) -> toolkit.Crosscoder:
        return toolkit.Crosscoder.from_pretrained(self.folder / "crosscoder", device=self.device)

    @cached_property
    def adapter(self) -> Adapter:
        chance = torch.Generator().manual_seed(0)
        made = Adapter.initialised(AdapterConfig(d_model=32, n_layers=4, n_latents=24), chance)
        for each in made.transcoders:
            each.W_dec.data.copy_(torch.randn(each.W_dec.shape, generator=chance))
        return made.to(self.device).requires_grad_(False)

    @cached_property
    def adapted(self) -> toolkit.AdaptedModel:
        return toolkit.AdaptedModel.from_pretrained(
            **self.models, adapter=deepcopy(self.adapter), where=str(self.device)
        )

    def logits_under(self, edit: Any) -> Tensor:
        return self.pair.distilled.logits(self.ids, self.mask, edit=edit)

    def edit(self) -> Edit:
        """One that differs from position to position."""
        return splice(2, self.values, self.chosen)
