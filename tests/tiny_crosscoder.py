"""A random crosscoder of the tiny pair."""

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder


@pytest.fixture(scope="session")
def crosscoder(tiny_pair, random_crosscoder) -> Crosscoder:
    """A random crosscoder of the tiny pair: 64 latents, sparse and imperfect, each fit to be felt."""
    generator = torch.Generator().manual_seed(5)
    made = random_crosscoder(n_latents=64)
    made.W_dec.mul_(torch.rand(64, 2, 1, generator=generator))  # so that NRN varies
    sample = torch.randint(1, 40, (4, 30), generator=generator)
    read = tiny_pair.residual(sample, torch.ones_like(sample)).flatten(0, 1).flatten(1).to(made.W_enc)
    made.W_enc.div_((read @ made.W_enc.flatten(1).T).std())
    made.b_enc.fill_(-0.5)
    return made
