from math import comb, log2

import pytest
import torch

from toolkit.experiments.geneft import graph
from toolkit.experiments.geneft.graph import Accuracy, Training, bits_of_graph, least_fraction, train_autoencoders


def test_the_bits_of_the_graph_are_those_of_its_partitions() -> None:
    """Ten of 30 nodes, then ten of 20, in any order of the three parts."""
    assert bits_of_graph() == pytest.approx(log2(comb(30, 10) * comb(20, 10) / 6))
    assert 0.05 < least_fraction() < 0.2


def test_autoencoders_side_by_side_train_as_each_alone() -> None:
    trainings = [Training(0.1, 0.001, 0.6, 0), Training(0.001, 0.1, 0.3, 1), Training(0.1, 0.001, 0.6, 2)]
    together = train_autoencoders(trainings, steps=60)
    assert together == [train_autoencoders([each], steps=60)[0] for each in trainings]
    assert together[0] != together[2]


def test_a_step_is_one_of_torchs_adam() -> None:
    parameter = torch.randn(1, 4, 3, requires_grad=True)
    optimiser = torch.optim.Adam([parameter], lr=0.03)
    ours, first, second = parameter.detach().clone(), torch.zeros(1, 4, 3), torch.zeros(1, 4, 3)
    for step in range(1, 6):
        gradient = torch.randn(1, 4, 3)
        parameter.grad = gradient.clone()
        optimiser.step()
        ours = graph._adam(ours, gradient, first, second, torch.tensor([[[0.03]]]), step)
    torch.testing.assert_close(ours, parameter.detach())


def test_training_pairs_of_a_larger_share_hold_those_of_a_smaller_one() -> None:
    small, large = (graph._training_pairs(Training(0.1, 0.1, share, 5)) for share in (0.2, 0.5))
    assert (small.sum(), large.sum()) == (87, 218)
    assert large[small].all()


@pytest.mark.parametrize(
    ("trained", "tested", "phase"),
    [(1.0, 0.95, "generalises"), (1.0, 0.6, "memorises"), (0.7, 0.7, "does not learn")],
)
def test_phases(trained: float, tested: float, phase: str) -> None:
    assert Accuracy(trained=trained, tested=tested).phase == phase
