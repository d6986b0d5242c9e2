"""A study whose numbers are made up, and known."""

import pytest
import torch
from torch import Tensor

from toolkit.experiments.stitching.study import Cost, StitchedCut, StitchingStudy
from toolkit.stitching.position_kinds import KINDS

COSTS = {"identity": 3.0, "mean_shift": 2.0, "orthogonal": 0.3, "ridge": 0.05}
DOCUMENTS, FITS = 24, 3


def made_up(front: str, rest: str, cut: int, costs: dict[str, float], *, ranks: bool = False) -> StitchedCut:
    """A cut whose maps cost about so much a token."""
    chance = torch.Generator().manual_seed(cut)
    tokens = torch.tensor([10.0, 40.0, 2.0, 8.0, 0.0]).repeat(DOCUMENTS, 1)

    def cost(nats: float) -> Cost:
        noise = 1 + 0.1 * torch.randn(FITS, DOCUMENTS, len(KINDS), generator=chance)
        sums: Tensor = nats * tokens * noise
        return Cost(ce=sums, kl=1.1 * sums)

    return StitchedCut(
        front=front,
        rest=rest,
        front_layer=cut,
        cut=cut,
        tokens=tokens,
        vocabulary=50,
        loss=1.5 * tokens,
        maps={name: cost(nats) for name, nats in costs.items()},
        ranks={rank: cost(0.05 + 1 / rank**2) for rank in (1, 2, 4, 8, 16)} if ranks else {},
        from_identity={name: nats for name, nats in costs.items() if name != "identity"},
    )


@pytest.fixture
def study() -> StitchingStudy:
    """Two cuts in every direction; at the second one maps are trained and truncated."""
    trained = COSTS | {"trained": 0.02, "trained_from_zero": 0.6}
    itself = {"identity": 0.0, "ridge": 0.001}
    joined = {
        "base_to_distilled": ("base", "distilled", COSTS, trained),
        "distilled_to_base": ("distilled", "base", COSTS, trained),
        "self": ("distilled", "distilled", itself, itself),
        "self_base": ("base", "base", itself, itself),
        "base_to_control": ("base", "control", COSTS, COSTS),
    }
    return StitchingStudy(
        directions={
            name: {1: made_up(front, rest, 1, first), 3: made_up(front, rest, 3, second, ranks="_to_" in name)}
            for name, (front, rest, first, second) in joined.items()
        },
        middle=dict.fromkeys(joined, 3),
        left_out={},
        fitted_tokens=(1000, 1010, 1020),
        text="organism, held out: 24 documents",
        origin={"text": "organism"},
    )
