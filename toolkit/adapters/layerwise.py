"""Checks that a model's layers, run one after the other, compute what the whole model does."""

import torch

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel, decoder_layers, set_mode
from toolkit.adapters.stretches import Stretches

TOKENS = 8
MOST = {torch.float32: 1e-3}
"""How far logits may differ, as a share of their size, by the type of the weights; else `ROUNDED`."""
ROUNDED = 0.03


def check_layerwise(models: AdaptedModel) -> None:
    """Raise `ValueError` for a model whose logits are not those of its layers, last norm and head, one after the other.

    Training, and all that needs gradients, runs layers by themselves, as `Stretches` does. Some architectures scale the
    embedding or cap the logits outside of their layers, and attention that is computed eagerly sees later tokens where
    nothing masks them.
    """
    config = models.module.config
    if not config.get_text_config().to_dict().get("final_logit_softcapping"):
        if config._attn_implementation == "eager":
            raise ValueError(
                "attn_implementation eager: by themselves, layers with eager attention see later tokens: give sdpa"
            )
        if _agree(models):
            return
    raise ValueError(
        f"a {config.model_type} computes something beside its layers, last norm and head, such as caps of its logits,"
        " which adapters leave out: they are for models of the kinds of Qwen2, Qwen3 and Llama"
    )


@torch.no_grad()
def _agree(models: AdaptedModel) -> bool:
    stretches, mode = Stretches(models.module), modes.distilled(models.n_layers)
    ids = torch.arange(min(TOKENS, models.distilled.vocab_size), device=stretches.device)[None]
    expected = models.distilled.logits(ids, torch.ones_like(ids)).float()
    set_mode(decoder_layers(models.module), mode)
    try:
        found = stretches.logits(stretches.run(stretches.embed(ids), mode).sites[-1]).float()
    except (TypeError, KeyError):  # layers that ask for more than a stream and its rotations
        return False
    most = MOST.get(models.module.dtype, ROUNDED)
    return bool((found.to(expected) - expected).norm() <= most * expected.norm())
