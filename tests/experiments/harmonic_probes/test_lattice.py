import pytest
import torch

from toolkit.experiments.harmonic_probes.lattice import (
    CROSS_ENTROPY,
    LatticeNetwork,
    TrainedLattice,
    measure_lattices,
    problems,
    train,
)
from toolkit.experiments.harmonic_probes.lattice_page import (
    lattice_claim,
    lattice_figure,
    lattice_results,
    lattice_table,
)

PLACES = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
LOSSES = ("harmonic, exponent 2", "harmonic, exponent 4", CROSS_ENTROPY)


def lattice(noise: float, seed: int) -> TrainedLattice:
    """The lattice turned into 16 dimensions, with noise in all of them."""
    generator = torch.Generator().manual_seed(seed)
    turned = PLACES @ torch.linalg.qr(torch.randn(16, 16, generator=generator))[0][:2]
    noisy = turned + noise * torch.randn(25, 16, generator=generator)
    return TrainedLattice(embeddings=noisy, accuracy=1 - 0.1 * seed)


def lattices(plain_noise: float, seeds: int = 3) -> dict[str, list[TrainedLattice]]:
    noise = dict(zip(LOSSES, (0.01, 0.01, plain_noise), strict=True))
    return {name: [lattice(noise[name], seed) for seed in range(seeds)] for name in LOSSES}


def test_problems_are_parallelograms_on_the_lattice():
    given, wanted = problems(200, torch.Generator().manual_seed(0))
    assert given.shape == (200, 3)
    a, b, c = PLACES[given].unbind(dim=1)
    assert torch.equal(PLACES[wanted], b + c - a)


def test_the_embeddings_are_the_weights_of_the_last_layer():
    two_layers, embeddings = (48 + 1) * 100 + (100 + 1) * 16, 25 * 16
    for exponent, biases in ((None, 25), (2.0, 0)):
        network = LatticeNetwork(exponent)
        assert sum(each.numel() for each in network.parameters()) == two_layers + embeddings + biases
        network.second(network.first(network.last.weight[:3].flatten())).sum().backward()
        assert network.last.weight.grad is not None
        assert network.last.weight.grad[:3].all()
        assert not network.last.weight.grad[3:].any()


def test_a_seed_trains_one_network_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = train(3, 2.0, seed=5)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(train(3, 2.0, seed=5).embeddings, first.embeddings)
    assert not torch.equal(train(3, 2.0, seed=6).embeddings, first.embeddings)


def test_the_claim_holds_only_where_plain_embeddings_are_not_flat():
    assert lattice_claim(lattices(plain_noise=1.0)).p < 0.05
    assert lattice_claim(lattices(plain_noise=0.01)).p == 1.0
    assert lattice_claim(lattices(plain_noise=1.0, seeds=1)).p == 1.0


def test_the_table_has_an_interval_over_seeds_and_the_least_accuracy():
    found = lattices(plain_noise=1.0)
    first, _, plain = lattice_table(found).rows
    assert first[1].low < first[1].value < first[1].high <= 1
    assert first[4] == pytest.approx(0.8)
    assert first[5].value == pytest.approx(first[1].value - plain[1].value)
    assert "one seed" in str(lattice_table(lattices(1.0, seeds=1)).rows[0][1])


def test_results_hold_each_seed():
    found = lattices(plain_noise=1.0)
    results = lattice_results(found)
    assert len(results["harmonic"]) == 6
    assert results["cross_entropy"] == [each.in_plane for each in found[CROSS_ENTROPY]]


def test_the_figure_has_a_panel_for_each_loss():
    panels = lattice_figure(lattices(plain_noise=1.0)).axes
    assert [panel.get_title(loc="left").replace("\n", " ") for panel in panels] == list(LOSSES)
    assert [len(panel.lines) for panel in panels] == [11, 11, 11]  # five rows, five columns, the points


@pytest.mark.slow
def test_the_harmonic_loss_lays_the_lattice_in_a_plane_and_cross_entropy_does_not():
    found = measure_lattices(steps=1000, seeds=3)
    results = lattice_results(found)
    assert min(results["harmonic"]) > 0.99
    assert max(results["cross_entropy"]) < 0.9
    assert min(each.accuracy for trained in found.values() for each in trained) > 0.98
