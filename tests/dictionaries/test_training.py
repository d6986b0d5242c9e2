import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pretended_device
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.metrics import evaluate
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.training import CrosscoderTrainer, StepMetrics, train
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS


def config(sparsity: str, steps: int = 30, **changes) -> TrainingConfig:
    settings = TrainingConfig(
        tokens=256 * steps, batch_tokens=256, n_latents=64, k=3, k_initial=10, k_anneal_steps=10, lr=6e-3,
        lr_warmup_steps=5, decoder_init_norm=0.2, dead_after_tokens=1000, threshold_decay=0.95,
        sparsity_coefficient=0.5,
    )  # fmt: skip
    return dataclasses.replace(settings, sparsity=sparsity, **changes)


def begin(training: TrainingConfig, first: torch.Tensor, models=("base", "distilled"), layers=(3,)):
    state = initialise(training, len(models), first, torch.Generator().manual_seed(0))
    return CrosscoderTrainer(training, state, models=models, layers=layers)


def taken(trainer: CrosscoderTrainer, batches) -> Iterator[StepMetrics]:
    """The metrics of one trainer's steps."""
    return (metrics for (metrics,) in train([trainer], batches))


@pytest.mark.parametrize("sparsity", RULES)
def test_training_explains_planted_features(planted, sparsity):
    batches = planted(1)
    trainer = begin(config(sparsity, steps=300), next(batches))
    metrics = list(taken(trainer, batches))
    assert len(metrics) == 300
    assert min(metrics[-1].fve) > 0.8 > max(metrics[0].fve)
    held_out = planted(2)
    result = evaluate(trainer.crosscoder(), [next(held_out) for _ in range(4)])
    assert min(result.fve.values()) > 0.8
    assert result.l0 == pytest.approx(metrics[-1].l0, rel=0.15)


def test_batchtopk_finds_shared_and_exclusive_features(planted):
    batches = planted(1)
    trainer = begin(config("batchtopk", steps=300), next(batches))
    list(taken(trainer, batches))
    crosscoder = trainer.crosscoder()
    alive = evaluate(crosscoder, [next(planted(2))]).firing_counts > 5
    base, distilled = (crosscoder.decoder_norms()[alive] * torch.tensor(crosscoder.config.scale)).unbind(dim=1)
    share = distilled / (base + distilled)
    assert (share < 0.1).sum() >= 6
    assert (share > 0.9).sum() >= 6
    assert ((share > 0.4) & (share < 0.6)).sum() >= 12


@pytest.mark.parametrize("sparsity", RULES)
def test_the_folded_crosscoder_equals_training_on_scaled_activations(planted, sparsity):
    batches = planted(1)
    trainer = begin(config(sparsity), next(batches))
    list(taken(trainer, batches))
    state, x = trainer.state_dict(), next(batches)
    scaled = (x * state["scale"][:, None]).flatten(1)
    activity = torch.relu(scaled @ state["W_enc"].t() + state["b_enc"])
    norms = state["W_dec"].view(64, 2, 16).norm(dim=2).sum(dim=1)
    scores = activity * norms
    cut = {"l1": 0.0, "batchtopk": state.get("threshold"), "topk": scores.sort(dim=1).values[:, -4:-3]}
    fires = scores > (cut[sparsity] if sparsity in cut else state["log_threshold"].exp())
    crosscoder = trainer.crosscoder()
    torch.testing.assert_close(crosscoder.encode(x), scores * fires, rtol=1e-4, atol=1e-4)
    reconstruction = (activity * fires) @ state["W_dec"] + state["b_dec"]
    in_raw_units = reconstruction.view(-1, 2, 16) / state["scale"][:, None]
    torch.testing.assert_close(crosscoder(x), in_raw_units, rtol=1e-4, atol=1e-4)


def test_the_scale_reaches_the_configuration(planted):
    first = next(planted(1))
    trainer = begin(config("l1"), first)
    expected = 4 / first.norm(dim=2).mean(dim=0)
    assert trainer.crosscoder().config.scale == pytest.approx(expected.tolist())


@pytest.mark.parametrize("sparsity", RULES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("place", "kernels"), [("cpu", "auto"), (pretended_device.AWAY, "ordered")], ids=["here", "away"]
)
def test_a_resumed_run_ends_in_the_same_weights_bit_for_bit(planted, tmp_path, sparsity, precision, place, kernels):
    training = config(sparsity, steps=24, precision=precision, dead_after_tokens=600, kernels=kernels)
    resumed, expected = resumed_and_whole(training, planted(1), tmp_path / "state.safetensors", place)
    for name, tensor in resumed.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("sparsity", ["topk", "batchtopk"])
def test_a_run_resumed_where_sums_have_no_order_ends_in_weights_within_a_thousandth(planted, tmp_path, sparsity):
    training = config(sparsity, steps=24, precision="fp32", dead_after_tokens=600, kernels="torch")
    file = tmp_path / "state.safetensors"
    resumed, expected = resumed_and_whole(training, planted(1), file, pretended_device.AWAY)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        assert (resumed[name] - expected[name]).norm() < 1e-3 * expected[name].norm(), name


def resumed_and_whole(
    training: TrainingConfig, data: Iterator[torch.Tensor], file: Path, place: torch.device | str
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The last states of two runs on the same batches, of which the first was saved, and gone on with from the file."""
    first, batches = next(data).to(place), [next(data) for _ in range(24)]
    whole, broken = begin(training, first), begin(training, first)
    list(taken(whole, batches))
    list(taken(broken, batches[:13]))
    save_file({name: tensor.cpu() for name, tensor in broken.state_dict().items()}, file)
    state = {name: tensor.to(place) if tensor.ndim else tensor for name, tensor in load_file(file).items()}
    resumed = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(3,))
    list(taken(resumed, batches[resumed.steps_done :]))
    last, expected = (
        {name: tensor.cpu() for name, tensor in trainer.state_dict().items()} for trainer in (resumed, whole)
    )
    return last, expected


@pytest.mark.parametrize(
    ("models", "layers"),
    [(("base",), (3,)), (("base", "distilled", "control"), (2, 4))],
    ids=["SAE", "3 × 2"],
)
def test_any_number_of_models_and_layers(models, layers):
    x = torch.randn(256, len(models) * len(layers), 8, generator=torch.Generator().manual_seed(0))
    trainer = begin(config("batchtopk", n_shared=4, n_exclusive=2), x, models, layers)
    metrics = list(taken(trainer, [x] * 20))
    assert len(metrics[-1].fve) == len(models) * len(layers)
    assert metrics[-1].reconstruction < metrics[0].reconstruction
    assert trainer.crosscoder()(x).shape == x.shape


@pytest.mark.parametrize("sparsity", RULES)
def test_designated_latents_stay_designated(planted, sparsity):
    batches = planted(1)
    trainer = begin(config(sparsity, n_shared=8, n_exclusive=5), next(batches))
    before = trainer.state_dict()["W_dec"].clone()
    list(taken(trainer, batches))
    rows = trainer.state_dict()["W_dec"].view(64, 2, 16)
    assert not torch.equal(rows, before.view(64, 2, 16))
    assert torch.equal(rows[:8, 0], rows[:8, 1])
    assert (rows[8:13, 1] == 0).all()
    assert (rows[13:18, 0] == 0).all()


@pytest.mark.parametrize("sparsity", RULES)
def test_dead_latents_come_back(planted, sparsity):
    fired = {}
    for aux_coefficient in (0.0, 1 / 32):
        batches = planted(1)
        training = config(sparsity, steps=200, dead_after_tokens=256, aux_coefficient=aux_coefficient)
        trainer = begin(training, next(batches))
        trainer.state_dict()["b_enc"][:32] -= 1.5
        list(taken(trainer, batches))
        codes = trainer.crosscoder().encode(torch.cat([next(batches) for _ in range(8)]))
        fired[aux_coefficient] = (codes[:, :32] > 0).any(dim=0).sum()
    assert fired[1 / 32] >= fired[0.0] + 4


def test_silent_latents_count_as_dead_only_after_the_tokens_asked_for(planted):
    batches = planted(1)
    trainer = begin(config("topk", dead_after_tokens=1024, aux_coefficient=0.0), next(batches))
    trainer.state_dict()["b_enc"][:16] = -1e6
    metrics = list(taken(trainer, (next(batches) for _ in range(4))))
    assert [m.dead_share for m in metrics[:3]] == [0, 0, 0]
    assert metrics[3].dead_share >= 0.25


@pytest.mark.parametrize("sparsity", RULES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_batch_that_is_not_finite_stops_before_the_weights_change(planted, sparsity, value):
    batches = planted(1)
    trainer = begin(config(sparsity), next(batches))
    list(taken(trainer, (next(batches) for _ in range(3))))
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    x = next(batches)
    x[5, 1, :4] = value
    with pytest.raises(
        NonFiniteError, match=r"step 4 met NaN[^\n]*\n  stream 0.*not finite 0.00%\n  stream 1"
    ) as caught:
        trainer.step(x)
    assert caught.value.step == 4
    for name, tensor in trainer.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_batch_of_another_shape_is_refused(planted):
    trainer = begin(config("l1"), next(planted(1)))
    with pytest.raises(ValueError, match=r"shape \(7, 3, 16\), expected \[token, 2, 16\]"):
        trainer.step(torch.zeros(7, 3, 16))


def test_metrics_are_plain_and_their_parts_make_the_loss(planted):
    batches = planted(1)
    trainer = begin(config("l1", dead_after_tokens=256), next(batches))
    for metrics in taken(trainer, batches):
        parts = metrics.reconstruction + metrics.coefficient * metrics.sparsity_loss + metrics.aux_loss / 32
        assert metrics.loss == pytest.approx(parts)
        json.dumps(dataclasses.asdict(metrics))
    assert metrics.step == trainer.steps_done == 30
    assert metrics.tokens == trainer.tokens_seen == 256 * 30


def test_the_gradient_is_clipped(planted):
    data = planted(1)
    first, x = next(data), next(data)
    for clip in (1e-3, 1e9):
        trainer = begin(config("l1", clip=clip), first)
        norm = trainer.step(x).grad_norm
        state = trainer.state_dict()
        moments = torch.cat([state[f"exp_avg.{name}"].flatten() for name in ("W_enc", "b_enc", "W_dec", "b_dec")])
        assert moments.norm().item() / 0.1 == pytest.approx(min(norm, clip), rel=1e-4)


@pytest.mark.parametrize("defaults", [TrainingConfig(), EMBEDDED_DEFAULTS.training], ids=["real", "embedded"])
@pytest.mark.parametrize(
    ("steps", "tolerance"),
    [(1, 0.1), (10, 0.05), (50, 0.05), (500, 0.05), pytest.param(5000, 0.05, marks=pytest.mark.slow)],
)
def test_the_threshold_fires_k_latents_a_token_after_a_run_of_any_length(planted, defaults, steps, tolerance):
    training = dataclasses.replace(defaults, tokens=256 * steps, batch_tokens=256, n_latents=96, k=6)
    batches = planted(1)
    trainer = begin(training, next(batches))
    *_, last = taken(trainer, batches)
    held_out = planted(2)
    fired = evaluate(trainer.crosscoder(), [next(held_out) for _ in range(40)]).l0
    assert (last.step, last.coefficient, trainer.crosscoder().config.k) == (steps, 6, 6)
    assert fired == pytest.approx(6, rel=tolerance)


def test_a_run_whose_data_end_early_comes_to_its_ends(planted):
    batches = planted(1)
    trainer = begin(config("batchtopk", steps=4000, k_anneal_steps=1000), next(batches))
    for _ in range(30):
        trainer.step(next(batches))
    assert trainer.crosscoder().config.k == trainer.step(next(batches)).coefficient == 10
    trainer.end_by(71)
    trainer.end_by(90)  # no run is made longer again
    state = trainer.state_dict()
    resumed = CrosscoderTrainer(
        config("batchtopk", steps=4000, k_anneal_steps=1000), state, models=("a", "b"), layers=(3,)
    )
    *_, last = taken(resumed, batches)
    assert (last.step, last.coefficient) == (71, 3)
    assert last.lr < 6e-3 / 10
    held_out = planted(2)
    fired = evaluate(resumed.crosscoder(), [next(held_out) for _ in range(40)]).l0
    assert fired == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("sparsity", ["topk", "batchtopk"])
def test_a_crosscoder_cut_short_says_how_many_latents_it_keeps(planted, sparsity):
    batches = planted(1)
    trainer = begin(config(sparsity, steps=100, k_anneal_steps=40), next(batches))
    metrics = [trainer.step(next(batches)) for _ in range(20)]
    crosscoder = trainer.crosscoder()
    assert crosscoder.config.k == metrics[-1].coefficient == 7
    assert evaluate(crosscoder, [next(planted(2))]).l0 == pytest.approx(7, rel=0.2)


class MadeMatrices(TorchDispatchMode):
    """Keeps the names of operations whose result is a new fp32 matrix, as large as the weights, of a size."""

    def __init__(self, n_latents: int, width: int) -> None:
        super().__init__()
        self.found, self._size = [], (n_latents, n_latents * width)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        results = function(*arguments, **(options or {}))
        is_view = any(value.alias_info is not None for value in function._schema.returns)  # or what was given
        for tensor in [] if is_view else tree_leaves(results):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32 and tensor.ndim:
                self.found += [str(function)] if (len(tensor), tensor.numel()) == self._size else []
        return results


@pytest.mark.parametrize("sparsity", RULES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_but_the_first_makes_a_copy_of_weights_in_fp32(planted, sparsity, precision):
    batches = planted(1)
    trainer = begin(config(sparsity, precision=precision, kernels="torch", aux_coefficient=0.0), next(batches))
    trainer.step(next(batches))
    with MadeMatrices(64, 32) as made:
        trainer.step(next(batches))
        assert made.found == []
        trainer.state_dict()["W_enc"].clone()
    assert made.found == ["aten.clone.default"]
