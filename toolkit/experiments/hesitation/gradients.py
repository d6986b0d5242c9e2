"""Runs held-out text through an adapted model, and sums each latent's activation × gradient of a target."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel, decoder_layers
from toolkit.adapters.stretches import Stretches
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True, eq=False)
class Forward:
    """One batch in the adapter's mode, with gradients of the stream."""

    input_ids: Int[Tensor, "row position"]
    counted: Bool[Tensor, "row position"]
    """Tokens that count: neither padding nor at position 0."""
    inputs: list[Float[Tensor, "row position d_model"]]
    """Of each layer's MLP, behind its norm."""
    sites: list[Float[Tensor, "row position d_model"]]
    """The input of the first layer, and the output of each."""
    models: AdaptedModel

    def codes(self, layer: int, where: Bool[Tensor, "row position"]) -> Float[Tensor, "token latent"]:
        """A layer's codes at some tokens, row after row."""
        return self.models.transcoders[layer].encode(self.inputs[layer][where])

    def logits(self, where: Bool[Tensor, "row position"]) -> Float[Tensor, "token vocab"]:
        """The logits at some tokens, row after row."""
        return Stretches(self.models.module).logits(self.sites[-1][where])


def forwards(run: AdapterRun, tokens: int) -> Iterator[Forward]:
    """Run held-out text, batch by batch, until so many tokens count."""
    models = run.models
    stretches, mode = Stretches(models.module), modes.adapter(models.n_layers)
    device = models.distilled.place.inputs_device
    read = 0
    for batch in track(run.tokens(), "reading text", "batches"):
        input_ids = batch.input_ids.to(device)
        counted = batch.attention_mask.bool().to(device)
        counted[:, 0] = False
        with _inputs_of_mlps(models) as inputs:
            sites = stretches.run(stretches.embed(input_ids).detach().requires_grad_(), mode).sites
        yield Forward(input_ids=input_ids, counted=counted, inputs=inputs, sites=sites, models=models)
        read += int(counted.sum())
        if read >= tokens:
            return


@contextmanager
def _inputs_of_mlps(models: AdaptedModel) -> Iterator[list[Tensor]]:
    """A list that every MLP adds its input to, with gradients, while the model runs."""
    found: list[Tensor] = []
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        for layer in decoder_layers(models.module)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class Pulls:
    """Sums over tokens of each latent's activation × the gradient of a target of what its layer's MLP adds.

    A latent's attribution is the product of its pull with its decoder row.
    """

    def __init__(self, models: AdaptedModel) -> None:
        about = models.transcoders.config
        self.sums = [torch.zeros(about.n_latents, about.d_model) for _ in range(about.n_layers)]

    def add(self, forward: Forward, target: Float[Tensor, ""], where: Bool[Tensor, "row position"]) -> None:
        """Add what the latents do to `target` by their activations at some tokens."""
        gradients = torch.autograd.grad(target, forward.sites[1:], allow_unused=True)
        with torch.no_grad():
            for layer, gradient in enumerate(gradients):
                if gradient is not None:
                    codes = forward.codes(layer, where).float()
                    self.sums[layer] += (codes.t() @ gradient[where].float()).cpu()

    def mean(self, n: int) -> list[Float[Tensor, "latent d_model"]]:
        """The pulls on average over `n` tokens."""
        return [each / max(1, n) for each in self.sums]
