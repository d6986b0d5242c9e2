"""What is told of a trained adapter, from sums over documents that are known."""

import pytest
import torch

from toolkit.adapters.fidelity import Fidelity, Firings
from toolkit.experiments.adapter_training.figures import training_curves
from toolkit.experiments.adapter_training.measure import MeasuredAdapter


def compared(kl: float) -> Fidelity:
    """Twelve documents of 4 to 15 predictions, with that KL each."""
    predictions = torch.arange(4.0, 16.0)
    ratios = torch.linspace(0.1, 0.3, 24).view(12, 2) * kl
    noise = torch.linspace(0.9, 1.1, 12)
    return Fidelity(predictions=predictions, kl=kl * predictions * noise, nmse=ratios, nmse_without_sink=2 * ratios)


@pytest.fixture
def measured() -> MeasuredAdapter:
    by_latent = torch.tensor([[30, 0, 6], [0, 0, 12]])
    fired = Firings(tokens=torch.arange(5, 17), by_document=torch.tensor([[3, 1]] * 12), by_latent=by_latent)
    return MeasuredAdapter(adapter=compared(0.1), hybrid=compared(0.4), fired=fired)


def test_means_are_over_tokens_and_intervals_over_documents(measured: MeasuredAdapter) -> None:
    metrics = measured.metrics()
    tokens = sum(range(5, 17))
    assert metrics["l0"].value == pytest.approx(24 / tokens)
    assert [each.value for each in metrics["by_layer"]["l0"]] == pytest.approx([36 / tokens, 12 / tokens])
    assert metrics["kl"].low < metrics["kl"].value < metrics["kl"].high
    assert metrics["kl"].value * 4 == pytest.approx(metrics["kl_hybrid"].value)
    assert metrics["kl_recovered"].value == pytest.approx(0.75)
    assert (metrics["dead_share"], metrics["by_layer"]["dead"]) == (0.5, [1, 2])
    assert metrics["by_layer"]["nmse"][1].value == pytest.approx(measured.adapter.nmse[:, 1].mean().item())
    assert (metrics["held_out_documents"], metrics["held_out_tokens"]) == (12, tokens)


def test_curves_are_drawn_of_a_run_of_one_step_and_of_many() -> None:
    step = {"tokens": 10, "kl": 1.0, "bridging": [0.5, 0.0], "nmse": [0.1, 0.2], "l0": [3.0, 0.0], "dead": [1, 2]}
    for count in (1, 1000):
        figure = training_curves([step | {"tokens": 10 * (n + 1)} for n in range(count)], 4)
        assert len(figure.axes) == 4
        assert len(figure.axes[0].lines[-1].get_xdata()) == min(count, 400)
