"""Adam's step of encoder and decoder rows by Triton, which also gives what the next step needs of the new rows.

torch's fused Adam writes gradients back where it clips them, and the next step reads the decoder again for its norms,
and the encoder for its copy that these norms scale. A program has both rows of a latent at hand, and does without.
"""

import math
import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.kernels import difference, failure, launch
from toolkit.dictionaries.optimiser import BETAS, EPSILON, MOMENTS, adam, update
from toolkit.dictionaries.weights import Weights
from toolkit.library_warnings import ToolkitWarning

ROWS = ("W_enc", "W_dec")
TRIED = 64
"""Latents whose first step is compared with torch's."""
BOUND = 1e-5
"""Of ‖found − torch's‖ / ‖torch's‖."""


class Written(NamedTuple):
    """What a step needs of the rows that the last one wrote."""

    stream_norms: Float[Tensor, "latent stream"]
    """Norms of decoder rows, as `Weights.decoder_norms`."""
    scaled_encoder: Float[Tensor, "latent width"]
    """Encoder rows times the sum of their latents' norms, in the type of the large products."""


class RowUpdate:
    """Takes the steps of W_enc and W_dec, whose moments are tensors of `state`; the other weights are left to torch."""

    def __init__(self, weights: Weights, state: dict[str, Tensor], n_streams: int, dtype: torch.dtype) -> None:
        self._rows = [weights.named()[name] for name in ROWS]
        self._moments = [state[f"{moment}.{name}"] for moment in MOMENTS for name in ROWS]
        norms = weights.W_dec.new_empty((len(weights.W_dec), n_streams))
        self._written = Written(norms, torch.empty_like(weights.W_enc, dtype=dtype))
        self._versions: list[int] | None = None

    def step(self, gradients: Weights, lr: float, shrink: float, step: int) -> tuple[str, ...]:
        """Step with the gradients times `shrink`, and return which weights were stepped; `step` counts from 1."""
        rate, correction = lr / (1 - BETAS[0] ** step), 1 / math.sqrt(1 - BETAS[1] ** step)
        self._launch([gradients.named()[name] for name in ROWS], (shrink, rate, correction), steps=True)
        return ROWS

    def written(self) -> Written:
        """Return what belongs to the weights as they are: it is made anew where torch changed them since the last step.

        The same kernel makes it, so that a run that is resumed has the bits of one that never stopped.
        """
        if self._versions != self._current():
            self._launch(self._rows, (0.0, 0.0, 0.0), steps=False)
        return self._written

    def _launch(self, gradients: list[Tensor], by: tuple[float, float, float], *, steps: bool) -> None:
        from toolkit.dictionaries.row_kernels import adam_of_rows  # needs a package that few CPUs have

        given = (*self._rows, *gradients, *self._moments, *self._written)
        if not all(tensor.is_contiguous() for tensor in given):
            raise ValueError("the kernel of Adam's step wants rows that lie one after the other: give contiguous ones")
        n_latents, n_streams = self._written.stream_norms.shape
        d_model = self._rows[0].shape[1] // n_streams
        launch(adam_of_rows, (n_latents,), *given, n_streams, d_model, *by, steps, *BETAS, EPSILON)
        self._versions = self._current()

    def _current(self) -> list[int]:
        return [row._version for row in self._rows]


def tried_row_update(
    weights: Weights, state: dict[str, Tensor], n_streams: int, dtype: torch.dtype
) -> RowUpdate | None:
    """Return a `RowUpdate` if its step of copies of a few latents is torch's; else None, after a warning."""
    try:
        differs = _difference_from_torch(weights, state, n_streams, dtype)
        why = f"differs by {differs:.2g} times what is allowed"
    except Exception as error:
        differs, why = math.inf, failure(error)
    if differs <= 1:
        return RowUpdate(weights, state, n_streams, dtype)
    warnings.warn(
        f"triton's step of Adam {why}: torch takes it, slower but right; leave out kernels triton",
        ToolkitWarning,
        stacklevel=3,
    )
    return None


def _difference_from_torch(weights: Weights, state: dict[str, Tensor], n_streams: int, dtype: torch.dtype) -> float:
    """The largest ‖found − torch's‖ / ‖torch's‖, in units of its bound, of one step by the weights themselves."""
    (ours, our_state), (theirs, their_state) = (_few(weights, state) for _ in range(2))
    gradients, step, (lr, shrink) = _few(weights, state)[0], int(state["step"]) + 1, (1e-3, 0.5)
    row_update = RowUpdate(ours, our_state, n_streams, dtype)
    row_update.step(gradients, lr, shrink, step)
    update(adam(theirs, their_state), theirs, gradients, lr, shrink)
    written, norms = row_update.written(), theirs.decoder_norms(n_streams)
    scaled = theirs.W_enc * norms.sum(dim=1, keepdim=True)
    pairs = [(written.stream_norms, norms, BOUND), (written.scaled_encoder.float(), scaled, torch.finfo(dtype).eps)]
    pairs += [(our_state[name], their_state[name], BOUND) for name in our_state if name != "step"]
    pairs += [(getattr(ours, name), getattr(theirs, name), BOUND) for name in ROWS]
    return max(difference(found, truth) / bound for found, truth, bound in pairs)


def _few(weights: Weights, state: dict[str, Tensor]) -> tuple[Weights, dict[str, Tensor]]:
    """Copies of a few latents' rows and their moments; a zero stands for each of the other weights."""
    rows = {name: weights.named()[name][:TRIED].clone() for name in ROWS}
    few = Weights(rows["W_enc"], weights.b_enc.new_zeros(1), rows["W_dec"], weights.b_enc.new_zeros(1))
    moments = {f"{moment}.{name}": torch.zeros_like(row) for name, row in few.named().items() for moment in MOMENTS}
    copied = {name: state[name][:TRIED].clone() for name in moments if name.endswith(ROWS)}
    return few, moments | copied | {"step": state["step"]}
