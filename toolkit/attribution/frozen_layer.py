"""A decoder layer as a linear map: what it was on one prompt, with norms, attention and gates held fixed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.attribution.decoder_layer import DecoderLayer

BLOCK = 512
"""Positions whose attention pattern is held in memory at a time."""
Places = slice | tuple[slice, None] | Int[Tensor, " target"]


class FrozenLayer:
    """One layer on one prompt, linear in its input.

    Fixed are the factors of both norms, each head's attention pattern, which is computed anew from queries and keys
    where it is needed, and σ in SiLU(x) = x·σ(x). Of the product gate · up each factor has half the gradient. Latents
    are constants. Source: Hu et al. 2026, appendix; Jafari et al. 2025 for the half rule.

    Gradients are of streams, by position first: [position, target, d_model]. A method that pulls one back returns the
    gradient of what came before, and adds to `bias` [target] what the passed biases add to the targets.
    """

    def __init__(
        self, layer: DecoderLayer, stream: Float[Tensor, "position d_model"], rotary: Sequence[Tensor]
    ) -> None:
        self.layer = layer
        passed = layer.run(stream[None], rotary)
        self.out, self.mlp_input = passed.out[0], passed.mlp_input[0]
        self.queries, self.keys = passed.queries[0], passed.keys[0]
        self.attention_factor, self.mlp_factor = passed.attention_factor[0], passed.mlp_factor[0]
        sigma = passed.gate[0].sigmoid()
        self.gate_slope, self.up_slope = passed.up[0] * sigma / 2, passed.gate[0] * sigma / 2
        codes = layer.activations(self.mlp_input)
        self.positions, self.indices = codes.nonzero(as_tuple=True)
        self.activations = codes[self.positions, self.indices]
        self.log_sums = self._log_sums()

    def pattern(self, head: int, rows: Int[Tensor, " row"], columns: slice) -> Float[Tensor, "row column"]:
        """How much one head at these positions attends to those."""
        return (self._scores(head, rows, columns) - self.log_sums[head, rows, None]).exp_()

    def _scores(self, head: int, rows: Tensor, columns: slice) -> Tensor:
        kv_head = head // (self.layer.n_heads // self.layer.n_kv_heads)
        back = rows[:, None] - torch.arange(columns.start, columns.stop, device=rows.device)
        unseen = back < 0 if self.layer.window is None else (back < 0) | (back >= self.layer.window)
        return (self.queries[head, rows] @ self.keys[kv_head, columns].T).masked_fill_(unseen, -torch.inf)

    def pull_through_mlp(
        self, gradient: Float[Tensor, "*position target d_model"], at: Places, bias: Float[Tensor, " target"]
    ) -> Float[Tensor, "*position target d_model"]:
        """From the layer's output to the stream before its MLP; `at` selects the positions of the gradient's rows."""
        mlp, norm = self.layer.mlp, self.layer.mlp_norm
        hidden = pulled(mlp.down_proj, gradient, bias)
        of_input = pulled(mlp.gate_proj, hidden * self.gate_slope[at], bias)
        of_input += pulled(mlp.up_proj, hidden.mul_(self.up_slope[at]), bias)
        if self.layer.bias:
            bias += summed(gradient @ self.layer.transcoder.b_dec.to(gradient))
        return gradient + of_input * norm.weight.to(gradient) * self.mlp_factor[at]

    def pull_through_attention(
        self, gradient: Float[Tensor, "position target d_model"], bias: Float[Tensor, " target"]
    ) -> Float[Tensor, "position target d_model"]:
        """From the stream behind the attention to the layer's input."""
        n, targets, _ = gradient.shape
        mixed = self._by_head(pulled(self.layer.attention.o_proj, gradient, bias))
        values = gradient.new_zeros(n, targets, self.layer.n_kv_heads, self.layer.head_dim)
        for head, kv_head in self._heads():
            of_head = mixed[:, :, head].flatten(1)
            for start in range(0, n, BLOCK):
                block = slice(start, min(start + BLOCK, n))
                pattern = self.pattern(head, self._everywhere()[start:n], block)
                values[block, :, kv_head] += (pattern.T @ of_head[start:]).unflatten(1, (targets, -1))
        return gradient + self._of_input(values, bias)

    def pull_from_middle(
        self, gradient: Float[Tensor, "target d_model"], at: Int[Tensor, " target"], bias: Float[Tensor, " target"]
    ) -> Float[Tensor, "position target d_model"]:
        """The same for a gradient at one position for each target; returns all positions up to the last of them."""
        n, targets = int(at.max()) + 1, len(gradient)
        mixed = self._by_head(pulled(self.layer.attention.o_proj, gradient, bias))
        values = gradient.new_zeros(n, targets, self.layer.n_kv_heads, self.layer.head_dim)
        for head, kv_head in self._heads():
            values[:, :, kv_head] += self.pattern(head, at, slice(0, n)).T[:, :, None] * mixed[:, head]
        found = self._of_input(values, bias)
        found[at, torch.arange(targets, device=at.device)] += gradient
        return found

    def push(
        self, change: Float[Tensor, "position row d_model"]
    ) -> tuple[Float[Tensor, "position row d_model"], Float[Tensor, "position row d_model"]]:
        """Forward instead: what a change of the layer's input changes in its MLP's input, and in its output."""
        parts, n, change = self.layer, len(change), change.to(self.out.device)
        seen = change * parts.attention_norm.weight.to(change) * self.attention_factor[:n, None]
        values, mixed = self._by_head(seen @ parts.attention.v_proj.weight.to(change).T), []
        rows = self._everywhere()[:n].split(BLOCK)
        for head, kv_head in self._heads():
            of_head = values[:, :, kv_head].flatten(1)
            found = torch.cat([self.pattern(head, each, slice(0, n)) @ of_head for each in rows])
            mixed.append(found.unflatten(1, (change.shape[1], -1)))
        middle = change + torch.cat(mixed, dim=2) @ parts.attention.o_proj.weight.to(change).T
        of_mlp = middle * parts.mlp_norm.weight.to(change) * self.mlp_factor[:n, None]
        hidden = of_mlp @ parts.mlp.gate_proj.weight.to(change).T * self.gate_slope[:n, None]
        hidden += of_mlp @ parts.mlp.up_proj.weight.to(change).T * self.up_slope[:n, None]
        return of_mlp, middle + hidden @ parts.mlp.down_proj.weight.to(change).T

    def _of_input(self, values: Tensor, bias: Tensor) -> Tensor:
        """The gradient of the layer's input from that of its heads' values."""
        of_input = pulled(self.layer.attention.v_proj, values.flatten(2), bias)
        return of_input * self.layer.attention_norm.weight.to(values) * self.attention_factor[: len(values), None]

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.layer.head_dim))

    def _heads(self) -> list[tuple[int, int]]:
        """Each head with the head of keys and values that it reads."""
        groups = self.layer.n_heads // self.layer.n_kv_heads
        return [(head, head // groups) for head in range(self.layer.n_heads)]

    def _log_sums(self) -> Float[Tensor, "head position"]:
        """Logarithms of what the softmax of each head divides by."""
        rows, everything = self._everywhere().split(BLOCK), slice(0, len(self.out))
        return torch.stack(
            [
                torch.cat([self._scores(head, each, everything).logsumexp(dim=1) for each in rows])
                for head, _ in self._heads()
            ]
        )

    def _everywhere(self) -> Int[Tensor, " position"]:
        return torch.arange(len(self.out), device=self.out.device)


def pulled(module: nn.Linear, gradient: Tensor, bias: Tensor) -> Tensor:
    """The gradient of a linear map's input; `bias` [target] grows by what its own bias adds."""
    if module.bias is not None:
        bias += summed(gradient @ module.bias.to(gradient))
    found: Tensor = gradient @ module.weight.to(gradient)
    return found


def summed(parts: Float[Tensor, "*position target"]) -> Float[Tensor, " target"]:
    """The sum over positions."""
    return parts if parts.dim() == 1 else parts.sum(dim=0)
