"""What does latent scaling of all latents cost beside an evaluation of the same activations?

Both read the same batches with the same crosscoder; they differ in what they do with the codes. Activations and rows
are random, and a threshold lets 100 of 8,192 latents fire on a token. Medians of CPU time on one thread.
"""

from functools import cache

import torch
from timing import time_in_turn
from training_step import BATCH, D_MODEL, N_LATENTS, N_MODELS, K

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import LatentScaling
from toolkit.dictionaries.metrics import evaluate

ROUNDS, BATCHES = 5, 2


@cache
def seconds() -> dict[str, float]:
    """Measure each side once a process: CPU seconds for all batches."""
    crosscoder, batches = _random()
    return time_in_turn(
        {
            "latents: evaluation": lambda: evaluate(crosscoder, batches),
            "latents: scaling of all": lambda: scale(crosscoder, batches),
        },
        ROUNDS,
    )


def scale(crosscoder: Crosscoder, batches: list[torch.Tensor]) -> object:
    """Encode all batches and measure every latent."""
    scaling = LatentScaling(crosscoder)
    for x in batches:
        scaling.add(x, crosscoder.encode(x))
    return scaling.ratios()


def ratios() -> dict[str, float]:
    """Return the time of latent scaling as a multiple of an evaluation's."""
    evaluation, scaling = seconds().values()
    return {"latent_scaling_over_evaluation": scaling / evaluation}


def _random() -> tuple[Crosscoder, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    config = CrosscoderConfig(
        d_model=D_MODEL, models=("base", "distilled"), layers=(1,), n_latents=N_LATENTS, sparsity="batchtopk", k=K
    )
    crosscoder = Crosscoder(config)
    for tensor in crosscoder.buffers():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    batches = [torch.randn(BATCH, N_MODELS, D_MODEL, generator=generator) for _ in range(BATCHES)]
    crosscoder.threshold.fill_(crosscoder.encode(batches[0]).flatten().topk(K * BATCH).values[-1].item())
    return crosscoder, batches
