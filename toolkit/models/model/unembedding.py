"""The logit lens: the logits of a direction of the residual stream, by the final norm and the unembedding."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.models.model.layers import final_norm_path
from toolkit.models.model.logit_statistics import extremes, whole
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.expected_answers import Asked, Job
from toolkit.models.places.ndif.server_side import unembedded
from toolkit.models.places.place import stretches

_FLOAT = (torch.float32,)


@torch.no_grad()
def direction_logits(
    model: TracedModel, directions: Float[Tensor, "direction d_model"]
) -> Float[Tensor, "direction vocab"]:
    """Return the logits of residual streams that are these directions and nothing else, without the biases.

    The final norm scales each direction to length √d_model and applies its gain; only a direction's sign and
    orientation matter. A zero direction gives zeros. The model's own modules compute the logits, so that gains of any
    kind and offloaded weights are those of a forward pass; a soft cap on the logits is left out.
    Source: nostalgebraist 2020.
    """
    (logits,) = _unembed(model, directions, len(directions), lambda n: [Asked((n, model.vocab_size), _FLOAT)], whole)
    return logits.to(directions.device)


@torch.no_grad()
def direction_tokens(
    model: TracedModel,
    directions: Float[Tensor, "direction d_model"],
    *,
    vocabulary: int,
    tokens: int,
    together: int,
) -> tuple[
    Float[Tensor, "direction token"],
    Int[Tensor, "direction token"],
    Float[Tensor, "direction token"],
    Int[Tensor, "direction token"],
]:
    """Return the largest of `direction_logits` with their ids, and the smallest with theirs, of the first `vocabulary`.

    Where the model runs, whole logits of `together` directions are held in memory at a time.
    """

    def form(n: int) -> list[Asked]:
        return [Asked((n, tokens), _FLOAT), Asked((n, tokens), (torch.int64,), below=vocabulary)] * 2

    up, promoted, down, suppressed = _unembed(model, directions, together, form, extremes, vocabulary, tokens)
    return up, promoted, down, suppressed


def _unembed(
    model: TracedModel,
    directions: Tensor,
    together: int,
    form: Callable[[int], list[Asked]],
    function: Callable[..., list[Tensor]],
    *operands: int,
) -> list[Tensor]:
    """Return what `function` computes of the logits; `form` describes its result for a number of directions."""
    model.check_loaded(whole=True)
    module = model.model._module
    head = next(name for name, each in module.named_modules() if each is module.get_output_embeddings())
    norm = final_norm_path(module)
    streams = nn.functional.normalize(directions.float(), dim=1) * directions.shape[1] ** 0.5
    parts = [streams.cpu()[some] for some in stretches([streams.shape[1] * 4] * len(streams), model.place.job_bytes)]
    jobs = [Job((norm, head, part, together, function, operands), form(len(part))) for part in parts]
    found = model.run_each(unembedded, jobs)
    return [torch.cat(column) for column in zip(*found, strict=True)]
