"""The MLP of one layer of an adapted model, which can compute any of its modes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.adapters.modes import LayerMode
from toolkit.dictionaries.transcoder_pass import transcode
from toolkit.dictionaries.transcoders import Transcoder


class AdaptedMLP(nn.Module):
    """Stands in a decoder layer for its MLP: the distilled model's, the base model's, and a transcoder.

    `mode` says which of them compute; whoever runs the layer sets it before. Where gradients are kept, `token_weights`
    weigh the tokens in the penalty, and `penalty` and `fired` are then those of the last call.
    """

    def __init__(self, distilled: nn.Module, base: nn.Module, transcoder: Transcoder) -> None:
        super().__init__()
        self.distilled, self.base, self.transcoder = distilled, base, transcoder
        self.mode = LayerMode(mlp="distilled")
        self.token_weights: Float[Tensor, " token"] | None = None
        self.penalty: Float[Tensor, ""] | None = None
        self.fired: Int[Tensor, " latent"] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return what this layer's MLP adds to the stream, of its normed input [row, position, d_model]."""
        mode = self.mode
        out: Tensor = (self.base if mode.mlp == "base" else self.distilled)(x)
        if isinstance(mode.scale, Tensor):
            out = out + self.transcoder.decode(self.transcoder.encode(x) * mode.scale.to(out))
        elif mode.scale == 1 and mode.bias and torch.is_grad_enabled():
            return out + self._trained(x)
        elif mode.scale:
            out = out + mode.scale * self.transcoder.decode(self.transcoder.encode(x))
        return out + self.transcoder.b_dec.to(out) if mode.bias else out

    def _trained(self, x: Tensor) -> Tensor:
        """The transcoder's output, with gradients of its weights."""
        flat = x.flatten(0, -2)
        weights = flat.new_zeros(len(flat), dtype=torch.float32) if self.token_weights is None else self.token_weights
        parts = self.transcoder
        out, self.penalty, self.fired = transcode(flat, parts.W_enc, parts.b_enc, parts.W_dec, parts.b_dec, weights)
        return out.view(x.shape)
