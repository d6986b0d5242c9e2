"""The whole experiment, small."""

import json
from pathlib import Path

import pytest
import torch

from toolkit.experiments.examine import publish
from toolkit.experiments.geneft import GenEFTConfig
from toolkit.experiments.geneft.claims import claims
from toolkit.experiments.geneft.graph import Accuracy
from toolkit.experiments.geneft.measure import Autoencoders, GenEFT, Repons, measure
from toolkit.experiments.geneft.repons import Draws
from toolkit.settings.findings import FindingsOutput

QUICK = {"draws": 40, "rates": (0.001, 0.1), "fractions": (0.1, 0.6), "seeds": 2, "steps": 30}


@pytest.fixture(scope="module")
def found() -> GenEFT:
    return measure(GenEFTConfig(**QUICK))


def autoencoders(encoder_rate: float, decoder_rate: float, *tested: float) -> Autoencoders:
    return Autoencoders(encoder_rate, decoder_rate, 0.6, tuple(Accuracy(trained=1.0, tested=each) for each in tested))


def test_results_have_agreement_and_phases(found: GenEFT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.experiments.geneft.measure.measure", lambda settings, opened: found)
    publish(GenEFTConfig(**QUICK, output=FindingsOutput(out=tmp_path)))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["agreement"]["n"] == 40
    assert results["agreement"]["low"] < results["agreement"]["value"] < results["agreement"]["high"]
    assert results["agreement"]["equations"]["value"] == 1.0
    assert len(results["phases"]["rates"]) == 4
    assert [each["fraction"] for each in results["phases"]["fast_encoder"]] == [0.1, 0.6]
    assert sum(results["phases"]["rates"][0]["seeds"].values()) == 2
    assert {path.name for path in (tmp_path / "figures").glob("*")} == {"geneft_repons.png", "geneft_graph.png"}


def test_the_gain_is_that_of_cells_with_a_faster_encoder() -> None:
    by_rates = (
        autoencoders(0.1, 0.1, 0.0, 0.0),
        autoencoders(0.1, 0.001, 0.9, 0.8),
        autoencoders(0.001, 0.1, 0.5, 0.6),
    )
    none = Repons(draws=Draws.random(1, torch.Generator()), outcomes={}, shuffled=torch.zeros(1).bool())
    gain = GenEFT(repons=none, by_rates=by_rates, by_fraction={}).gain_of_fast_encoders
    assert gain.value == pytest.approx(0.3)
    assert gain.low is not None
    assert gain.low < 0.3


def test_a_sign_that_tells_no_more_than_anothers_does_not_show(found: GenEFT) -> None:
    repons = found.repons
    blind = Repons(draws=repons.draws, outcomes=repons.outcomes, shuffled=repons.agrees("gradient descent"))
    unfounded = GenEFT(repons=blind, by_rates=found.by_rates, by_fraction=found.by_fraction)
    assert claims(found)[0].p < 0.05 < claims(unfounded)[0].p


def test_the_seed_decides_the_draws(found: GenEFT) -> None:
    again = measure(GenEFTConfig(**QUICK))
    assert torch.equal(again.repons.shuffled, found.repons.shuffled)
    assert again.by_rates == found.by_rates
    chance = torch.Generator().manual_seed(1)
    assert not torch.equal(Draws.random(40, chance).decoder, found.repons.draws.decoder)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"draws": 10}, "draws 10: an interval needs at least 20"),
        ({"seeds": 1}, "seeds 1: an interval needs at least 2"),
        ({"rates": (0.1,)}, "at least two different"),
        ({"fractions": (0.5, 0.99)}, r"0\.99 of the pairs .* at most 0\.95"),
        ({"rates": (0.0, 0.1)}, r"rates 0\.0: must be above 0"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GenEFTConfig(**given)  # type: ignore[arg-type]
