"""The optimisers of an adapter's weights, and what they remember, as tensors by name."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.dictionaries.transcoders import Adapter

MOMENTUM = 0.95


def optimisers(training: AdapterTrainingConfig, adapter: Adapter) -> list[Optimizer]:
    """Return what moves the weights: AdamW, or Muon the matrices and AdamW the biases; without weight decay."""
    weights = list(adapter.parameters())
    if training.optimiser == "adamw":
        return [AdamW(weights, lr=training.lr, weight_decay=0.0, fused=True)]
    matrices, biases = ([each for each in weights if (each.ndim == 2) is whether] for whether in (True, False))
    return [
        Muon(matrices, lr=training.lr, weight_decay=0.0, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"),
        AdamW(biases, lr=training.lr, weight_decay=0.0, fused=True),
    ]


def state_of(optimisers: Sequence[Optimizer], adapter: Adapter) -> dict[str, Tensor]:
    """Return what the optimisers remember of each weight."""
    return {
        f"{kind}/{name}": tensor
        for name, weight in adapter.named_parameters()
        for optimiser in optimisers
        for kind, tensor in optimiser.state.get(weight, {}).items()
    }


def load_state(optimisers: Sequence[Optimizer], adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    """Give the optimisers what `state_of` returned."""
    weights = dict(adapter.named_parameters())
    for optimiser in optimisers:
        own = {id(each) for group in optimiser.param_groups for each in group["params"]}
        for path, tensor in tensors.items():
            kind, _, name = path.partition("/")
            if kind != "weights" and name in weights and id(weights[name]) in own:
                optimiser.state[weights[name]][kind] = tensor.to(weights[name].device, copy=True)
