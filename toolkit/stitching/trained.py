"""Maps trained on the cross-entropy of the stitched receiver, through its weights, which stay as they are."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import no_type_check

import nnsight
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.formatting import counted
from toolkit.harvest.tokens import TokenBatch
from toolkit.leaving_out import TooFewError
from toolkit.models.model.layers import check_layers
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.rows import first_tokens
from toolkit.ranges import Count, CountOrNone, Positive, Seed, check_ranges
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.stitch import Stitch
from toolkit.tracking import track

FEWEST_DOCUMENTS = 8
WARMUP_SHARE = 1 / 3
"""Most of a run that the learning rate may rise."""


@dataclass(frozen=True, kw_only=True)
class MapTraining:
    """How a map is trained: Adam, whose learning rate rises, and then falls to 0 in a straight line.

    Source: Baek, Li & Tegmark 2024, as released: a rate of 1e-3, 100 steps of warm-up, at most 10,000 steps.
    """

    steps: Count = 200
    """Most steps; each takes one batch."""
    lr: Positive = 1e-3
    """Highest learning rate."""
    warmup_steps: CountOrNone = 100
    """Steps over which it rises, at most a third of all."""
    look_steps: Count = 25
    """Steps between two looks at the held-out text."""
    patience: Count = 4
    """Looks without a lower loss after which training stops."""
    seed: Seed = 0
    """Seed of the order of the batches."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def rate(self, step: int) -> float:
        """Learning rate of `step`, from 0."""
        rising = max(1, min(self.warmup_steps, int(WARMUP_SHARE * self.steps)))
        return self.lr * min((step + 1) / rising, (self.steps - step) / max(1, self.steps - rising))


@dataclass(frozen=True, kw_only=True)
class Look:
    """The loss on held-out text at one time of training."""

    step: int
    """Steps done; 0 for the map that training starts from."""
    tokens: int
    """Tokens that training has read."""
    loss: float
    """Mean cross-entropy of the stitched receiver, nats a token."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained map, and what it cost."""

    map: AffineMap
    """The map of the look with the lowest loss, which may be the one that training started from."""
    losses: tuple[float, ...]
    """Mean cross-entropy of each step's own batch before the step, nats a token."""
    looks: tuple[Look, ...]
    """The loss on held-out text, from the start on."""
    seconds: float

    @property
    def best(self) -> Look:
        """The look that the map is of."""
        return min(self.looks, key=lambda look: look.loss)

    @property
    def tokens(self) -> int:
        """Tokens that training read."""
        return self.looks[-1].tokens

    def reached(self, loss: float) -> Look | None:
        """Return the first look with so low a loss; None where there is none."""
        return next((look for look in self.looks if look.loss <= loss), None)


def train_map(
    rest: TracedModel,
    start: Stitch,
    batches: Sequence[TokenBatch],
    held_out: Sequence[TokenBatch],
    training: MapTraining = MapTraining(),
) -> Trained:
    """Train the map of a stitch on the cross-entropy of every token that follows another, both biases too.

    The front may run anywhere: it is read without gradients. The receiver's layers from the cut on run forward and
    back; those before it do not run. Batches come in a new random order each time that all have been read. After every
    `look_steps` steps the loss of the held-out text decides whether training goes on, and which map is kept: so
    measure the map on a third text.
    Raises `ValueError` for a receiver whose weights are not in this process, a cut that it does not have, a map of
    another width than its own, and fewer than 8 documents of two tokens in either text, and `NonFiniteError` for
    gradients that are not finite.
    """
    _check(rest, start, {"train on": batches, "tell by when to stop": held_out})
    began = time.perf_counter()
    run = _Run(ThroughRest(rest=rest, stitch=start), held_out, training)
    with _frozen(rest):
        run.look()
        for step in track(range(training.steps), f"training a map into layer {start.layer}", "steps"):
            run.step(_batch(batches, step, training.seed))
            if (step + 1) % training.look_steps == 0 or step + 1 == training.steps:
                run.look()
                if run.stagnates:
                    break
    return Trained(map=run.best, losses=tuple(run.losses), looks=tuple(run.looks), seconds=time.perf_counter() - began)


@dataclass(frozen=True, kw_only=True, eq=False)
class ThroughRest:
    """The cross-entropy of a stitched receiver, as a function of the map."""

    rest: TracedModel
    stitch: Stitch
    """Which front, and where it ends and is put in; its own map has no part in this."""

    def loss(self, map: AffineMap, batch: TokenBatch) -> float:
        """Return the mean cross-entropy, nats a token that follows another, and add its gradient to the map's tensors.

        Without gradients, as inside `torch.no_grad`, it is only returned.
        """
        device, wanted = map.weight.device, torch.is_grad_enabled()
        (stream,) = self.stitch.front.residual(batch.input_ids, batch.attention_mask, self.stitch.front_layer)
        inputs = (batch.input_ids, batch.attention_mask, stream)
        rows = max(1, LARGEST_LOGITS // (self.rest.vocab_size * batch.input_ids.shape[1]))
        predicted, total = max(1, int(_follows(batch.attention_mask).sum())), 0.0
        for ids, mask, own in zip(*(each.split(rows) for each in inputs), strict=True):
            values = map(own.to(device, torch.float32), first_tokens(mask).to(device))
            found = self.rest.run(
                loss_with, self.rest.inputs(ids, mask, None), self.stitch.layer, values, _follows(mask), wanted
            )
            if wanted:
                values.backward(found[1].to(values) / predicted)
            total += float(found[0])
        return total / predicted

    @torch.no_grad()
    def mean_loss(self, map: AffineMap, batches: Sequence[TokenBatch]) -> float:
        """Return the mean cross-entropy over all batches, nats a token that follows another."""
        sizes = [int(_follows(batch.attention_mask).sum()) for batch in batches]
        return sum(self.loss(map, batch) * size for batch, size in zip(batches, sizes, strict=True)) / sum(sizes)


class _Run:
    """A map in training, and what is known of it so far."""

    def __init__(self, through: ThroughRest, held_out: Sequence[TokenBatch], training: MapTraining) -> None:
        self._through, self._held_out, self._training = through, held_out, training
        start, device = through.stitch.map, through.rest.device
        self._map = AffineMap(
            weight=_parameter(start.weight, device),
            bias=_parameter(start.bias, device),
            first_bias=_parameter(start.first_bias, device),
        )
        self._parameters = [self._map.weight, self._map.bias, self._map.first_bias]
        self._adam = torch.optim.Adam(self._parameters)
        self._tokens = 0
        self.losses: list[float] = []
        self.looks: list[Look] = []
        self.best = start

    def step(self, batch: TokenBatch) -> None:
        """Move the map against its gradient on a batch."""
        self.losses.append(self._through.loss(self._map, batch))
        if not all(each.grad is not None and bool(each.grad.isfinite().all()) for each in self._parameters):
            told = f"learning rate {self._training.lr:g}, loss {self.losses[-1]:.4g}"
            raise NonFiniteError(len(self.losses), (told,), "The step")
        for group in self._adam.param_groups:
            group["lr"] = self._training.rate(len(self.losses) - 1)
        self._adam.step()
        self._adam.zero_grad()
        self._tokens += int(batch.attention_mask.sum())

    def look(self) -> None:
        """Measure the map on the held-out text, and keep it where it is the best so far."""
        loss = self._through.mean_loss(self._map, self._held_out)
        if all(loss < look.loss for look in self.looks):
            self.best = AffineMap(
                weight=self._map.weight.detach().clone(),
                bias=self._map.bias.detach().clone(),
                first_bias=self._map.first_bias.detach().clone(),
            )
        self.looks.append(Look(step=len(self.losses), tokens=self._tokens, loss=loss))

    @property
    def stagnates(self) -> bool:
        """Whether the last looks show no loss below those before them."""
        before, last = self.looks[: -self._training.patience], self.looks[-self._training.patience :]
        return bool(before) and min(look.loss for look in last) >= min(look.loss for look in before)


def _follows(attention_mask: Int[Tensor, "row position"]) -> Bool[Tensor, "row next"]:
    """Where a token is predicted by another: entry i is that of token i + 1."""
    return (attention_mask[:, :-1] * attention_mask[:, 1:]).bool()


def _batch(batches: Sequence[TokenBatch], step: int, seed: int) -> TokenBatch:
    """The batch of a step: all once in a random order, then all again in another."""
    turn, place = divmod(step, len(batches))
    chance = torch.Generator().manual_seed(seed * 1_000_003 + turn)
    return batches[int(torch.randperm(len(batches), generator=chance)[place])]


def _parameter(values: Tensor, device: torch.device) -> Tensor:
    return values.detach().to(device, torch.float32, copy=True).requires_grad_()


@contextmanager
def _frozen(model: TracedModel) -> Iterator[None]:
    """Ask no gradients of a model's weights, so that its layers keep less for the way back."""
    learning = [each for each in model.model._module.parameters() if each.requires_grad]
    for each in learning:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in learning:
            each.requires_grad_(True)


def _check(rest: TracedModel, start: Stitch, texts: Mapping[str, Sequence[TokenBatch]]) -> None:
    check_layers([start.layer], rest.n_layers)
    if not rest.place.keeps_caches:
        where = "on NDIF" if rest.place.server else "split over processes"
        raise ValueError(
            f"the receiver ({rest.source}) runs {where}, and a map is trained by gradients through weights in this"
            " process: load it here, or take a map in closed form, such as ridge"
        )
    if start.map.weight.shape[1] != rest.d_model:
        raise ValueError(
            f"the map gives a stream of width {start.map.weight.shape[1]}, and the receiver ({rest.source}) has width"
            f" {rest.d_model}: give a map that was fitted to this receiver"
        )
    for what, batches in texts.items():
        documents = sum(int(_follows(batch.attention_mask).any(dim=1).sum()) for batch in batches)
        if documents < FEWEST_DOCUMENTS:
            raise TooFewError(
                f"{counted(documents, 'document')} of two tokens or more to {what}: give at least {FEWEST_DOCUMENTS}"
            )


@no_type_check
def loss_with(model, decoder, inputs, layer, values, follows, wants_gradient):
    """Cross-entropy summed over tokens that follow another, with `values` as the input of `layer`, and its gradient.

    The layers before it do not run.
    """
    with torch.set_grad_enabled(wants_gradient), model.trace(**inputs):
        embedded = decoder[0].input
        leaf = values.detach().to(embedded.device).requires_grad_(wants_gradient)
        stream = leaf.to(embedded.dtype)
        for before in range(layer):
            decoder[before].skip(stream)
        if layer == 0:
            decoder[0].input = stream
        logits = model.output.logits[:, :-1]
        follows = follows.to(logits.device)
        targets = inputs["input_ids"][:, 1:].to(logits.device)[follows]
        loss = torch.nn.functional.cross_entropy(logits[follows].float(), targets, reduction="sum")
        gradient = torch.autograd.grad(loss, leaf)[0] if wants_gradient else leaf
        found = nnsight.save((loss.detach(), gradient))
    return found  # noqa: RET504 - a return inside a trace is lost
