"""The trainer: one optimiser step a batch of raw activations, and a state of tensors that resumes exactly."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries import schedules
from toolkit.dictionaries.activation_batches import NonFiniteError, describe_streams
from toolkit.dictionaries.collectives import WHOLE, Split
from toolkit.dictionaries.configs import CrosscoderConfig, TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder, fold
from toolkit.dictionaries.difference_loss import check_models, pull
from toolkit.dictionaries.gradient_norm import gradient_norm
from toolkit.dictionaries.optimiser import MOMENTS, adam, update
from toolkit.dictionaries.partition import Partition
from toolkit.dictionaries.precision import multiplying_in, resolved
from toolkit.dictionaries.revival import add_revival, choose_dead
from toolkit.dictionaries.row_update import tried_row_update
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.dictionaries.sparse_products.choosing import products_of
from toolkit.dictionaries.weights import EPSILON, Batch, Memory, Pass, Weights, Workspace

Activations = Float[Tensor, "token stream d_model"]
WITHOUT_ROWS = ("b_dec", "scale")  # and scalars


def has_latent_rows(name: str) -> bool:
    """Whether a tensor of a trainer's state, if no scalar, has a row a latent; a path before the name is ignored."""
    return name.rpartition("/")[2].removeprefix("exp_avg.").removeprefix("exp_avg_sq.") not in WITHOUT_ROWS


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one training step measured on its own batch, before the update."""

    step: int
    """Steps done, this one included."""
    tokens: int
    """Tokens seen, this batch included."""
    loss: float
    """reconstruction + λ sparsity_loss + aux_coefficient aux_loss, and the error of the difference times its weight."""
    reconstruction: float
    """Mean over tokens of the squared error summed over streams, on scaled activations."""
    sparsity_loss: float
    """Penalty per token before its weight, as the sparsity rule has it: decoder-norm-weighted L1, or L0, or 0."""
    aux_loss: float
    """Loss that revives dead latents, before its weight."""
    fve: tuple[float, ...]
    """Fraction of variance explained, per stream."""
    l0: float
    """Latents firing per token."""
    dead_share: float
    """Share of latents that fired on none of as many latest tokens as `schedules.dead_after` says."""
    lr: float
    """Learning rate of this step."""
    coefficient: float
    """λ or k, whichever the sparsity rule has."""
    grad_norm: float
    """Norm of the whole gradient before clipping."""


class CrosscoderTrainer:
    """Trains one crosscoder on raw activations [token, stream, d_model]; streams are model-major.

    `state` is what `initialise` made, or what `state_dict` returned earlier, perhaps by way of a safetensors
    file; the trainer updates its tensors in place. `models`, `layers` and `sources` are as in `CrosscoderConfig`.

    `split` says what several processes share out. Each is given its own tokens of a batch and takes the same steps as
    one process with all of them. Where latents are shared out, `state` holds this rank's rows alone.
    """

    def __init__(
        self,
        training: TrainingConfig,
        state: dict[str, Tensor],
        *,
        models: tuple[str, ...],
        layers: tuple[int, ...],
        sources: tuple[str, ...] = (),
        split: Split = WHOLE,
    ) -> None:
        check_models(training.difference_weight, len(models))
        self.training, self._split = resolved(training, state["scale"].device), split
        self._first_latent = split.latents.share_of(training.n_latents).start
        self.config = CrosscoderConfig(
            d_model=state["b_dec"].numel() // (len(models) * len(layers)),
            models=models,
            layers=layers,
            n_latents=training.n_latents,
            sparsity=training.sparsity,
            k=training.k,
            n_shared=training.n_shared,
            n_exclusive=training.n_exclusive,
            scale=tuple(state["scale"].tolist()),
            sources=sources,
        )
        self._rule = rule_of(training.sparsity)
        extra = {name: state[name] for name in self._rule.extra_weights(training)}
        self._weights = Weights(state["W_enc"], state["b_enc"], state["W_dec"], state["b_dec"], extra)
        self._optimiser = adam(self._weights, state)
        self._scale = state["scale"]
        self._silent_tokens = state["silent_tokens"]
        self._memory: Memory = {name: state[name] for name in self._rule.memory}
        self.steps_done, self.tokens_seen = int(state["step"]), int(state["tokens"])
        self._n_dead = self._count_dead()
        self.end_by(int(state["last_step"]))
        self._partition = Partition(n_models=len(models), n_shared=training.n_shared, n_exclusive=training.n_exclusive)
        self._dtype = torch.bfloat16 if self.training.precision == "bf16" else torch.float32
        self._products = products_of(training, self._scale.device, self._dtype)
        self._workspace = Workspace(split)
        given = self._weights, state, self.config.n_streams, self._dtype
        self._row_update = tried_row_update(*given) if self._products.name == "triton" else None

    @torch.no_grad()
    def step(self, x: Activations) -> StepMetrics:
        """Update the weights on one batch of raw activations and return what it measured.

        Raises ValueError for a batch of another shape than the state's, and NonFiniteError, before anything
        has changed, for a batch that leads to NaN or infinity.
        """
        self._check_shape(x)
        with multiplying_in(self.training.precision):
            return self._step(x.to(self._scale.device))

    def _step(self, x: Activations) -> StepMetrics:
        x = self._split.latents.gathered(x)
        n_tokens = self._split.tokens.total(len(x))
        batch = self._batch(x)
        found = self._rule.run_pass(batch)
        aux_loss = self._revive(batch, found)
        spread = self._spread(batch.x, found.error, n_tokens)
        self._add_up(found, aux_loss, spread, len(x) / n_tokens)
        self._partition.project_(found.gradients.W_dec, self._first_latent)
        silent_tokens = torch.where(found.fired > 0, 0, self._silent_tokens + n_tokens)
        metrics, cut, n_dead = self._measure(found, aux_loss, spread, silent_tokens, n_tokens, batch.strength)
        if not math.isfinite(metrics.loss + metrics.grad_norm):
            raise NonFiniteError(metrics.step, describe_streams(self._split.tokens.gathered(x)))
        shrink = min(1.0, self.training.clip / max(metrics.grad_norm, EPSILON))
        rows = self._row_update
        done = rows.step(found.gradients, metrics.lr, shrink, metrics.step) if rows else ()
        update(self._optimiser, self._weights, found.gradients, metrics.lr, shrink, left_out=done)
        self._silent_tokens, self._n_dead = silent_tokens, n_dead
        if rows:
            batch = batch._replace(**rows.written()._asdict())
        self._memory = self._rule.remember(batch, cut, self.steps_done)
        self.steps_done, self.tokens_seen = metrics.step, metrics.tokens
        return metrics

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that an exact continuation needs, as tensors that share memory with the trainer.

        Where latents are shared out, tensors for which `has_latent_rows` holds have this rank's rows alone.
        """
        weights = self._weights.named()
        moments = {
            f"{moment}.{name}": self._optimiser.state[weight][moment]
            for name, weight in weights.items()
            for moment in MOMENTS
        }
        return weights | moments | dict(self._memory) | {
            "scale": self._scale,
            "silent_tokens": self._silent_tokens,
            "step": torch.tensor(self.steps_done),
            "tokens": torch.tensor(self.tokens_seen),
            "last_step": torch.tensor(self.training.steps),
        }  # fmt: skip

    def end_by(self, last_step: int) -> None:
        """Let the schedules end with `last_step`, where that is before the planned one: the data hold no more."""
        if last_step < self.training.steps:
            self.training = replace(self.training, tokens=last_step * self.training.batch_tokens)
            self._n_dead = self._count_dead()

    def crosscoder(self) -> Crosscoder:
        """Return the dictionary as it stands, folded to take raw activations; it shares no memory.

        Its k is that of the last step, which is the training's k once that was reached.
        """
        assert self._split.latents.size == 1, "no rank has all rows: read them from a checkpoint"
        config = self.config
        if RULES[config.sparsity] == "k":
            config = replace(config, k=schedules.kept_latents(self.training, max(0, self.steps_done - 1)))
        return fold(config, self._weights, self._rule.threshold(self._weights, self._memory))

    def _check_shape(self, x: Tensor) -> None:
        expected = (self.config.n_streams, self.config.d_model)
        if x.shape[1:] != expected or len(x) == 0:
            raise ValueError(
                f"the batch has shape {tuple(x.shape)}, expected [token, {expected[0]}, {expected[1]}]: "
                f"one stream for each of the models {self.config.models} and layers {self.config.layers}"
            )

    def _batch(self, x: Activations) -> Batch:
        written = self._row_update.written() if self._row_update else None
        return Batch(
            x=(x.float() * self._scale[:, None]).flatten(1),
            weights=self._weights,
            stream_norms=written.stream_norms if written else self._weights.decoder_norms(self.config.n_streams),
            strength=float(self._rule.pressure.at(self.training, self.steps_done)),
            training=self.training,
            dtype=self._dtype,
            workspace=self._workspace,
            products=self._products,
            memory=self._memory,
            scaled_encoder=written.scaled_encoder if written else None,
        )

    def _revive(self, batch: Batch, found: Pass) -> Tensor:
        if self.training.aux_coefficient == 0:
            return batch.x.new_zeros(())
        is_dead = self._is_dead(self._silent_tokens)
        dead = choose_dead(is_dead, self._n_dead, self.steps_done, self._split.latents, self._first_latent)
        return add_revival(batch, found, dead, self._rule.revival_loss)

    def _count_dead(self) -> int:
        """How many latents are dead by the settings as they are; a step counts anew without waiting for a GPU."""
        return int(self._is_dead(self._silent_tokens).sum())

    def _is_dead(self, silent_tokens: Int[Tensor, " latent"]) -> Bool[Tensor, " latent"]:
        return silent_tokens >= schedules.dead_after(self.training)

    def _spread(self, x: Tensor, error: Tensor, n_tokens: int) -> Float[Tensor, "three stream"]:
        """Squared errors, the same with what `difference_weight` adds, and squared distances from the whole batch's
        mean, each summed over this rank's tokens.
        """
        mean = x.sum(dim=0)
        self._split.tokens.sum_(mean)
        squared, distances = (_squared_norms(each, self.config.n_streams) for each in (error, x - mean / n_tokens))
        weight = self.training.difference_weight
        weighted = _by_stream(error * pull(error, weight), self.config.n_streams) if weight else squared
        return torch.stack([squared, weighted, distances])

    def _add_up(self, found: Pass, aux_loss: Tensor, spread: Tensor, share: float) -> None:
        """Make sums over this rank's tokens, and means over this `share` of all, those of the whole batch, in place."""
        if self._split.tokens.size == 1:
            return
        means = [*found.gradients.named().values(), found.sparsity_loss, aux_loss]
        for mean in means:
            mean *= share
        self._split.tokens.sum_(*means, found.fired, spread)

    def _measure(
        self, found: Pass, aux_loss: Tensor, spread: Tensor, silent_tokens: Tensor, n_tokens: int, strength: float
    ) -> tuple[StepMetrics, float, int]:
        """Return the metrics, the pass's cut, and how many of this rank's latents are dead.

        Every figure is gathered in one tensor, so that an accelerator is waited for once.
        """
        n_streams = self.config.n_streams
        squared_error, weighted, variance = spread
        dead = self._is_dead(silent_tokens).sum()
        over_latents = torch.stack([found.sparsity_loss, found.fired.sum() / n_tokens, dead / self.training.n_latents])
        self._split.latents.sum_(over_latents)
        added = (weighted - squared_error).sum() / n_tokens
        norm_of_gradient = gradient_norm(found, self._split, self._partition)
        figures = torch.stack([aux_loss, norm_of_gradient, found.cut, added, dead])
        gathered = torch.cat([squared_error / n_tokens, 1 - squared_error / variance, over_latents, figures]).tolist()
        reconstruction = sum(gathered[:n_streams])
        sparsity_loss, l0, dead_share, aux, norm, cut, of_difference, n_dead = gathered[2 * n_streams :]
        metrics = StepMetrics(
            step=self.steps_done + 1,
            tokens=self.tokens_seen + n_tokens,
            loss=reconstruction + strength * sparsity_loss + self.training.aux_coefficient * aux + of_difference,
            reconstruction=reconstruction,
            sparsity_loss=sparsity_loss,
            aux_loss=aux,
            fve=tuple(gathered[n_streams : 2 * n_streams]),
            l0=l0,
            dead_share=dead_share,
            lr=schedules.learning_rate(self.training, self.steps_done),
            coefficient=strength,
            grad_norm=norm,
        )
        return metrics, cut, int(n_dead)


def train(
    trainers: Sequence[CrosscoderTrainer], batches: Iterable[Float[Tensor, "_ stream d_model"]]
) -> Iterator[tuple[StepMetrics, ...]]:
    """Yield one step's metrics of each trainer per batch, until the planned steps are done or the batches end.

    The trainers stand at the same step, and plan as many. No batch is taken that is not used.
    """
    following = iter(batches)
    while trainers[0].steps_done < trainers[0].training.steps and (x := next(following, None)) is not None:
        yield tuple(trainer.step(x) for trainer in trainers)


def _squared_norms(values: Tensor, n_streams: int) -> Float[Tensor, " stream"]:
    return _by_stream(values.square(), n_streams)


def _by_stream(values: Tensor, n_streams: int) -> Float[Tensor, " stream"]:
    return values.sum(dim=0).view(n_streams, -1).sum(dim=1)
