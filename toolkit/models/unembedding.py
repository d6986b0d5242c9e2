"""The logit lens: what a direction of the residual stream says through the final norm and the unembedding."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.models.layers import layers_path
from toolkit.models.tracing import TracedModel

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm")


@torch.no_grad()
def direction_logits(
    model: TracedModel, directions: Float[Tensor, "direction d_model"]
) -> Float[Tensor, "direction vocab"]:
    """Return the logits of residual streams that are these directions and nothing else, without the biases.

    The final norm scales each direction to length √d_model and applies its gain; only a direction's sign and
    orientation matter. A zero direction says nothing: zeros. The model's own modules compute it, so that gains of
    any kind and offloaded weights are as they are in a forward pass; a soft cap on the logits is left out.
    Source: nostalgebraist 2020.
    """
    module = model.model._module
    norm, head = _final_norm(module), module.get_output_embeddings()
    parameter = next(model.model._module.parameters())
    unit = nn.functional.normalize(directions.float(), dim=1) * directions.shape[1] ** 0.5
    streams = torch.cat([unit, torch.zeros_like(unit[:1])]).to(model.device, parameter.dtype)
    logits = head(norm(streams)).float()
    return (logits[:-1] - logits[-1]).to(directions.device)  # the last is the stream 0: the biases


def _final_norm(module: nn.Module) -> nn.Module:
    decoder = module.get_submodule(layers_path(module).rpartition(".")[0])
    return next(getattr(decoder, name) for name in FINAL_NORMS if hasattr(decoder, name))
