"""Effects of a crosscoder's latents on logits: against autograd through plain transformers, and against ablation."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from toolkit.attribution.crosscoder_paths import Paths
from toolkit.interventions.ablation import Arm, ReadTargets, ablation_effects
from toolkit.interventions.targets import Targets
from toolkit.latents.choices import Method

PREFIXES = tuple(torch.tensor(row) for row in ([40, 3, 7, 1, 9], [40, 5, 6], [40, 2, 8, 8, 4, 11]))
TARGETS = Targets(prefixes=PREFIXES, target_ids=torch.tensor([7, 9, 3]), documents=torch.tensor([0, 1, 2]), found=3)


@pytest.fixture(scope="module")
def paths(tiny_pair, random_crosscoder) -> Paths:
    read = ReadTargets.read(tiny_pair, TARGETS, "prefix")
    return Paths(model=tiny_pair.distilled, crosscoder=random_crosscoder(), stream=1, read=read)


def streams(paths: Paths, target: int) -> Tensor:
    """Both models' streams before one target, but for the first token."""
    for rows in paths.read.rows:
        if target in rows.where.tolist():
            starts = [0, *rows.positions.sum(dim=1).cumsum(dim=0).tolist()]
            row = rows.where.tolist().index(target)
            return rows.streams[starts[row] : starts[row + 1]]
    raise AssertionError


def test_effects_are_codes_times_gradients_of_the_plain_model(paths: Paths, folders: tuple[Path, Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders[1]).eval()
    found, decoder = paths.at_code(), paths.crosscoder.W_dec[:, 1]
    for target, (prefix, wanted) in enumerate(zip(PREFIXES, TARGETS.target_ids.tolist(), strict=True)):
        captured: list[Tensor] = []

        def keep(module: object, given: tuple[Tensor, ...], into: list[Tensor] = captured) -> tuple[Tensor, ...]:
            into.append(given[0].detach().requires_grad_())
            return (into[0], *given[1:])

        hook = model.model.layers[2].register_forward_pre_hook(keep)
        logits = model(prefix[None]).logits[0, -1]
        hook.remove()
        (gradient,) = torch.autograd.grad(logits[wanted] - logits.mean(), captured[0])
        codes = paths.crosscoder.encode(streams(paths, target))
        expected = (codes * (gradient[0, 1:] @ decoder.T)).sum(dim=0)
        torch.testing.assert_close(found[target], expected, atol=1e-4, rtol=1e-3)
    assert (found != 0).any()


def test_the_effect_along_a_latents_path_is_what_ablation_takes_away(paths: Paths) -> None:
    latents = [latent for latent in range(12) if (paths.at_code()[:, latent] != 0).any()][:3]
    measured = paths.ablated([Arm(crosscoder=paths.crosscoder, latents=torch.tensor([each])) for each in latents])
    assert measured.abs().max() > 0.01
    torch.testing.assert_close(paths.along_path(latents, steps=40), measured, atol=2e-3, rtol=1e-2)


def test_ablation_here_differs_from_the_logits_fall_by_that_of_the_mean_logit_alone(paths: Paths, tiny_pair) -> None:
    arms = [Arm(crosscoder=paths.crosscoder, latents=torch.arange(12), direction=seed) for seed in (None, 1)]
    found = paths.ablated(arms)
    effects = ablation_effects(tiny_pair, paths.read, arms, Method(positions="prefix"), edited=["distilled"])
    of_mean = found + effects["distilled"].logit
    assert found.abs().max() > 0.1
    assert of_mean.abs().max() < 0.5 * found.abs().max()


def test_no_gradient_is_left_in_the_model(paths: Paths) -> None:
    paths.at_code()
    assert all(weight.grad is None for weight in paths.model.model._module.parameters())
