"""Runs stretches of an adapted model's layers with gradients, as training needs them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from toolkit.adapters.adapted_model import decoder_layers
from toolkit.adapters.modes import LayerMode, Mode
from toolkit.models.model.layers import attention_window, final_norm_path, layers_path


class Ran(NamedTuple):
    """What a stretch of layers gave."""

    sites: list[Float[Tensor, "row position d_model"]]
    """The input of the first layer, and the output of each."""
    penalties: list[Float[Tensor, ""]]
    """Each transcoder's penalty, where tokens were weighed."""
    fired: list[Int[Tensor, " latent"]]
    """How often each latent fired, likewise."""


class Stretches:
    """The layers of an adapted model, run from any of them to the last, on rows that are padded on the right.

    Attention is causal, so that no token sees the padding behind its row. `check_layerwise` tells of models for which
    this is not what they compute. With `recompute` a layer keeps nothing but
    its input for the backward pass, and runs again there.
    """

    def __init__(self, module: PreTrainedModel, *, recompute: bool = False) -> None:
        self._decoder: Any = module.get_submodule(layers_path(module).rpartition(".")[0])
        self._layers, self._recompute = decoder_layers(module), recompute
        self._window = attention_window(module.config.get_text_config())
        self._norm, self._head = module.get_submodule(final_norm_path(module)), module.get_output_embeddings()

    @property
    def device(self) -> torch.device:
        """Where ids belong."""
        found: torch.device = self._decoder.get_input_embeddings().weight.device
        return found

    def embed(self, input_ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position d_model"]:
        """Return the input of the first layer."""
        embedded: Tensor = self._decoder.get_input_embeddings()(input_ids.to(self.device))
        return embedded

    def run(
        self,
        stream: Float[Tensor, "row position d_model"],
        mode: Mode,
        start: int = 0,
        token_weights: Float[Tensor, " token"] | None = None,
    ) -> Ran:
        """Run layer `start` and all later ones on its input, in this mode.

        With `token_weights`, of tokens row after row, transcoders tell their penalty and which latents fire.
        Raises `ValueError` for rows longer than the window that some layers attend to.
        """
        stream = stream.to(next(self._layers[start].parameters()).device) if start < len(self._layers) else stream
        token_weights = None if token_weights is None else token_weights.to(stream.device)
        if self._window is not None and stream.shape[1] > self._window:
            raise ValueError(
                f"a row of {stream.shape[1]} tokens is longer than the {self._window} that some layers see at once: cut"
                f" rows to that, with row_length {self._window}"
            )
        positions = torch.arange(stream.shape[1], device=stream.device)[None]
        rotary = self._decoder.rotary_emb(stream, positions)
        ran = Ran([stream], [], [])
        for layer, each in zip(self._layers[start:], mode[start:], strict=True):
            out, penalty, fired = self._through(layer, each, ran.sites[-1], rotary, token_weights)
            ran.sites.append(out)
            if penalty is not None and fired is not None:
                ran.penalties.append(penalty)
                ran.fired.append(fired)
        return ran

    def logits(self, stream: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place vocab"]:
        """Return the logits of the last layer's output."""
        found: Tensor = self._head(self._norm(stream.to(self._norm.weight.device)))
        return found

    def _through(
        self,
        layer: Any,
        mode: LayerMode,
        stream: Tensor,
        rotary: Sequence[Tensor],
        token_weights: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        def run(stream: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            mlp = layer.mlp
            mlp.mode, mlp.token_weights = mode, token_weights
            out: Tensor = layer(stream, attention_mask=None, position_embeddings=rotary)
            return (out, None, None) if token_weights is None else (out, mlp.penalty, mlp.fired)

        if self._recompute and torch.is_grad_enabled():
            return checkpoint(run, stream, use_reentrant=False, preserve_rng_state=False)  # nothing in it is random
        return run(stream)
