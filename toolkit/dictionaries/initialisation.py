"""The state that training starts from, estimated from the first activations of the stream."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.collectives import ALONE, WHOLE, Ranks, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.partition import Partition
from toolkit.dictionaries.rules.rule import rule_of

INITIAL_TOKENS = 32_768  # of the stream, that a run estimates its first state from


def estimate_scale(x: Float[Tensor, "token stream d_model"], ranks: Ranks = ALONE) -> Float[Tensor, " stream"]:
    """Return √d / mean‖x‖ per stream: the factor that brings every stream to the same mean norm.

    `x` holds raw activations, other ranks perhaps more of them. Raises ValueError for a stream of zeros. Source:
    Lindsey et al. 2024.
    """
    norms = _mean(x.float().norm(dim=2), ranks)
    if not bool((norms > 0).all()):
        raise ValueError(f"mean activation norms per stream are {norms.tolist()}; every stream must carry a signal")
    return math.sqrt(x.shape[2]) / norms


def initialise(
    config: TrainingConfig,
    n_models: int,
    x: Float[Tensor, "token stream d_model"],
    generator: torch.Generator,
    split: Split = WHOLE,
) -> dict[str, Tensor]:
    """Return the state of a `CrosscoderTrainer` before its first step, on the device of `x`.

    `x` holds raw activations of the first few thousand tokens, streams model-major; with several ranks, each has its
    own, and where they share out the latents, each is given the rows of its latents. Encoder and decoder are
    tied; decoder rows are equal across models, so that every latent starts out shared. The decoder bias is the
    mean activation, which minimises the squared error (masks have removed outliers), and the encoder bias
    takes the mean out of the pre-activations. `generator` lives on the CPU: runs start alike on every device.
    """
    n_streams, d_model = x.shape[1:]
    scale = estimate_scale(x, split.ranks)
    mean = (_mean(x.float(), split.ranks) * scale[:, None]).flatten()
    own = split.latents.share_of(config.n_latents)
    directions = torch.randn(config.n_latents, n_streams // n_models, d_model, generator=generator)
    rows = torch.nn.functional.normalize(directions[own], dim=2) * config.decoder_init_norm
    W_dec = rows.repeat(1, n_models, 1).flatten(1).to(x.device)  # [latent, stream × d_model]
    Partition(n_models=n_models, n_shared=config.n_shared, n_exclusive=config.n_exclusive).project_(W_dec, own.start)
    weights = {"W_enc": W_dec.clone(), "b_enc": -(W_dec @ mean), "W_dec": W_dec, "b_dec": mean}
    rule = rule_of(config.sparsity)
    weights |= {name: torch.full_like(weights["b_enc"], value) for name, value in rule.extra_weights(config).items()}
    moments = {f"{m}.{name}": torch.zeros_like(w) for name, w in weights.items() for m in ("exp_avg", "exp_avg_sq")}
    memory = {name: tensor.clone() for name, tensor in rule.memory.items()}
    return weights | moments | memory | {
        "scale": scale,
        "silent_tokens": torch.zeros(len(W_dec), dtype=torch.int64, device=x.device),
        "step": torch.tensor(0),
        "tokens": torch.tensor(0),
        "last_step": torch.tensor(config.steps),
    }  # fmt: skip


def _mean(values: Float[Tensor, "token ..."], ranks: Ranks) -> Float[Tensor, "..."]:
    total = values.sum(dim=0)
    ranks.sum_(total)
    return total / ranks.total(len(values))
