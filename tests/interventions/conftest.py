"""Crosscoders that are written down, not trained."""

import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder


@pytest.fixture
def identity() -> Crosscoder:
    """Reconstructs two streams of width 32 exactly: latents 2i and 2i + 1 are the two signs of number i."""
    config = CrosscoderConfig(d_model=32, models=("base", "distilled"), layers=(2,), n_latents=128, sparsity="l1", k=1)
    signs = torch.eye(64).repeat_interleave(2, dim=0) * torch.tensor([1.0, -1.0]).repeat(64)[:, None]
    crosscoder = Crosscoder(config)
    crosscoder.load_state_dict(
        {
            "W_enc": signs.view(128, 2, 32),
            "b_enc": torch.zeros(128),
            "W_dec": signs.view(128, 2, 32),
            "b_dec": torch.zeros(2, 32),
        }
    )
    return crosscoder
