"""A new sparsity rule is a module, which `RULE` here stands for, and a row in the table."""

import sys
from types import SimpleNamespace
from typing import get_args

import jaxtyping
import pytest
import torch

from toolkit.dictionaries import rules
from toolkit.dictionaries.configs import CrosscoderConfig, TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.dense_pass import DenseProducts, dense_flops
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.revival import auxk_loss
from toolkit.dictionaries.rules.rule import Rule, rule_of
from toolkit.dictionaries.schedules import KEPT
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.dictionaries.weights import Batch, Pass
from toolkit.training.costs import trainer_bytes


def first_ones(codes: torch.Tensor, _threshold: torch.Tensor, k: int) -> torch.Tensor:
    """Only the first k latents ever fire."""
    return codes * (torch.arange(codes.shape[1]) < k)


def first_pass(batch: Batch) -> Pass:
    products = DenseProducts(batch)
    codes = first_ones(products.pre_activations().relu_(), batch.norms, int(batch.strength))
    error, error_gradient = products.decode(codes)
    code_gradient = products.gradient_of_codes(error_gradient) * (codes > 0)
    gradients = products.weight_gradients(codes, code_gradient, error_gradient)
    zero = error.new_zeros(())
    slope = gradients._replace(extra={"slope": torch.ones_like(batch.norms)})
    return Pass(slope, error, (codes > 0).sum(dim=0), sparsity_loss=zero, cut=zero)


RULE = Rule(
    pressure=KEPT,
    run_pass=first_pass,
    revival_loss=auxk_loss,
    extra_weights=lambda training: {"slope": 0.5},
    memory={"seen": torch.tensor(0)},
    remember=lambda batch, cut, step: {"seen": batch.memory["seen"] + 1},
    fire=first_ones,
    step_flops=dense_flops,
)


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(rules.RULES, "first", "k")
    monkeypatch.setitem(sys.modules, "toolkit.dictionaries.rules.first", SimpleNamespace(RULE=RULE))
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would check the names of rules, too
    return "first"


def test_a_new_rule_trains_resumes_saves_and_loads(first, planted, tmp_path):
    training = TrainingConfig(
        sparsity=first, tokens=256 * 20, batch_tokens=256, n_latents=64, k=5, k_initial=8, k_anneal_steps=2, lr=3e-3
    )
    batches = planted(1)
    state = initialise(training, 2, next(batches), torch.Generator().manual_seed(0))
    names = {"models": ("base", "distilled"), "layers": (3,)}
    trainer = CrosscoderTrainer(training, state, **names)
    began = trainer.step(next(batches))
    trainer = CrosscoderTrainer(training, trainer.state_dict(), **names)
    metrics = [trainer.step(next(batches)) for _ in range(19)]
    assert metrics[-1].reconstruction < began.reconstruction
    assert (began.coefficient, metrics[-1].coefficient) == (8, 5)
    after = trainer.state_dict()
    assert after["seen"] == 20
    assert (after["slope"] < 0.5).all()
    assert trainer_bytes(training, 32, 2) == sum(tensor.nbytes for tensor in after.values())
    crosscoder, x = trainer.crosscoder(), next(batches)
    crosscoder.save_pretrained(tmp_path)
    loaded = Crosscoder.from_pretrained(tmp_path, device="cpu")
    assert loaded.config.sparsity == first
    assert torch.equal(loaded.encode(x), crosscoder.encode(x))
    assert (loaded.encode(x)[:, 5:] == 0).all()


def test_every_rule_in_the_table_is_a_choice_of_settings_and_has_a_module():
    assert get_args(rules.Sparsity) == tuple(rules.RULES)
    assert all(isinstance(rule_of(name), Rule) for name in rules.RULES)


def test_an_unknown_rule_is_refused_with_those_that_are_known(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    message = "sparsity 'top' is no rule known here: give l1, topk, batchtopk, jumprelu"
    with pytest.raises(ValueError, match=message):
        TrainingConfig(sparsity="top")
    with pytest.raises(ValueError, match=message):
        CrosscoderConfig(d_model=4, models=("a",), layers=(1,), n_latents=8, sparsity="top", k=1)
    with pytest.raises(ValueError, match=message):
        rule_of("top")
