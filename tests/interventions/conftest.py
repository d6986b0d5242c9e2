import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder


@pytest.fixture(scope="session")
def crosscoder(tiny_pair) -> Crosscoder:
    """A random crosscoder of the tiny pair: 64 latents, sparse and imperfect, each fit to be felt."""
    generator = torch.Generator().manual_seed(5)
    config = CrosscoderConfig(d_model=32, models=("base", "distilled"), layers=(2,), n_latents=64, sparsity="l1", k=1)
    made = Crosscoder(config)
    for name in ("W_enc", "W_dec", "b_dec"):
        tensor = getattr(made, name)
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    made.W_dec.mul_(torch.rand(64, 2, 1, generator=generator))  # so that NRN varies
    sample = torch.randint(1, 40, (4, 30), generator=generator)
    read = tiny_pair.residual(sample, torch.ones_like(sample)).flatten(0, 1).flatten(1)
    made.W_enc.div_((read @ made.W_enc.flatten(1).T).std())
    made.b_enc.fill_(-0.5)
    return made
