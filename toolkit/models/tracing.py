"""One model behind nnsight: read its residual stream, or run it under an edit of that stream."""

import threading
from collections.abc import Callable, Sequence

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor

from toolkit.models.layers import check_layers, layers_path

Edit = Callable[[Float[Tensor, "row position d_model"]], Float[Tensor, "row position d_model"]]
"""A pure function of the residual stream at one site."""


class TracedModel:
    """A language model of transformers whose residual stream can be read and edited.

    The *site* `layer` is the residual stream at the input of decoder layer `layer`: transformers'
    `hidden_states[layer]`. Gradients are never kept. Any thread may call, but nnsight runs one trace at a
    time on a model, so a second caller waits for the first.
    """

    def __init__(self, model: TransformersModel):
        self.model = model
        self._layers = model.get(layers_path(model._module))
        self._lock = threading.Lock()
        config = model._module.config.get_text_config()
        self.d_model: int = config.hidden_size
        self.n_layers: int = config.num_hidden_layers
        self.vocab_size: int = config.vocab_size
        self.device: torch.device = model._module.device

    def residual(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        layers: Sequence[int],
    ) -> list[Float[Tensor, "row position d_model"]]:
        """Read the residual stream at the input of each of `layers`, in the order given, in one pass.

        The pass stops at the last site: later layers, the final norm and the LM head never run. Values at
        padded positions mean nothing.
        Raises `ValueError` for no layer, or one outside [0, n_layers).
        """
        check_layers(layers, self.n_layers)
        model, decoder = self.model, self._layers
        inputs = self._inputs(input_ids, attention_mask)
        ascending = sorted(set(layers))  # nnsight serves sites in the order they run
        with self._lock, torch.no_grad(), model.trace(**inputs) as tracer:
            sites = nnsight.save([decoder[layer].input for layer in ascending])
            tracer.stop()
        return [sites[ascending.index(layer)] for layer in layers]

    def logits(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        *,
        edit: Edit | None = None,
        layer: int | None = None,
    ) -> Float[Tensor, "row position vocab"]:
        """Run the whole model and return its logits, with `edit` applied at the input of `layer` if given.

        Raises `ValueError` for an edit without a layer, or a layer outside [0, n_layers).
        """
        if (edit is None) != (layer is None):
            raise ValueError("an edit needs a layer, and a layer an edit: give both or neither")
        if layer is not None:
            check_layers([layer], self.n_layers)
        model, decoder = self.model, self._layers
        inputs = self._inputs(input_ids, attention_mask)
        with self._lock, torch.no_grad(), model.trace(**inputs):
            if edit is not None:
                decoder[layer].input = edit(decoder[layer].input)
            output = nnsight.save(model.output)  # lm_head.output would lack Gemma 2's soft cap
        logits: Tensor = output.logits
        return logits

    def _inputs(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, object]:
        return {
            "input_ids": input_ids.to(self.device),
            "attention_mask": attention_mask.to(self.device),  # without one nnsight attends to padding
            "use_cache": False,
        }
