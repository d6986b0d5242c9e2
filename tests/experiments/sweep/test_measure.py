import json

import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.sweep import SweptValues, parse_sweep
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, parse_command_line


def test_every_combination_is_one_plan() -> None:
    training = TrainingConfig(sparsity="topk", lr=0.5)
    plans = SweptValues(n_latents=(512, 768), k=(8, 18, 36)).plans(training)
    assert {(name, plan.n_latents, plan.k) for name, plan in plans.items()} == {
        (f"n-latents-{n}_k-{k}", n, k) for n in (512, 768) for k in (8, 18, 36)
    }
    assert {plan.lr for plan in plans.values()} == {0.5}
    [[name, plan]] = SweptValues(sparsity_coefficient=(0.5,)).plans(TrainingConfig(sparsity="l1", n_latents=7)).items()
    assert (name, plan.sparsity_coefficient, plan.n_latents) == ("sparsity-coefficient-0.5", 0.5, 7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a sweep has values to combine: give --n-latents, --k or --sparsity-coefficient"),
        (["--k", "8", "18", "8"], "--k 8 18 8: give each value once"),
        (["--k", "8", "--sparsity", "l1"], "--k: --sparsity l1 does not use it"),
        (["--sparsity-coefficient", "1", "2"], "--sparsity-coefficient: --sparsity batchtopk does not use it"),
        (["--k", "8", "900"], "k = 900 is more than n_latents = 768"),
        (["--n-latents", "512", "0"], "n_latents 0: must be at least 1"),
    ],
)
def test_what_cannot_be_swept_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_sweep(arguments)


def test_a_command_line_is_that_of_training_with_several_values() -> None:
    config = parse_sweep(["--k", "8", "18", "--lr", "0.01", "--seed", "3"])
    assert str(config.output.out) == "runs/sweep"
    assert (config.training.lr, config.training.k) == (0.01, EMBEDDED_DEFAULTS.training.k)
    assert list(config.plans) == ["k-8", "k-18"]
    real = parse_sweep(["--pair", "qwen-1.5b", "--n-latents", "16384", "32768"])
    assert real.training == PAPER_DEFAULTS.training
    with pytest.raises(SystemExit):
        parse_sweep(["--k", "8", "--nonsense", "1"])


def test_each_has_the_settings_of_a_run_alone() -> None:
    alone = parse_sweep(["--k", "8", "18", "--n-latents", "512", "--seed", "3"]).alone("n-latents-512_k-8")
    assert str(alone.output.out) == "runs/sweep/n-latents-512_k-8"
    assert (
        alone.settings()
        == parse_command_line(["--k", "8", "--n-latents", "512", "--seed", "3", "--seeds", "1"]).settings()
    )


def test_other_values_are_other_settings() -> None:
    one, other = (parse_sweep(["--k", "8", k]).settings() for k in ("18", "36"))
    assert one != other
    assert json.loads(json.dumps(one))["swept"]["k"] == [8, 18]
