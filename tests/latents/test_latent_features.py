"""Feature files say of an adapter's latent what its record says, in units of codes alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.adapters.feature_files import FeatureFiles, write_packed
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.latents.examples import LatentExample
from toolkit.latents.latent_features import features_of
from toolkit.latents.latent_records import LatentRecord

EXAMPLE = LatentExample(document=3, position=7, score=6.0, token_ids=(0, 2, 1), activations=(0.0, 6.0, 3.0), peak=1)
RECORD = LatentRecord(
    latent=(1, 2),
    number=6,
    frequency=0.25,
    strongest=[EXAMPLE],
    quarters=[("lowest quarter", []), ("highest quarter", [EXAMPLE])],
    promoted=[(" Wait", 1.5)],
    suppressed=[("so", -2.0)],
    pieces=["a", "…", " Wait"],
)


@pytest.fixture
def adapter() -> Adapter:
    made = Adapter(AdapterConfig(d_model=2, n_layers=2, n_latents=4))
    made[1].W_dec.data[2] = torch.tensor([0.0, 3.0])
    return made


def test_a_feature_is_a_record_in_units_of_codes(adapter: Adapter) -> None:
    (found,) = features_of([RECORD], adapter)
    assert (found.layer, found.latent, found.activation_frequency) == (1, 2, 0.25)
    assert (found.top_logits, found.bottom_logits) == ((" Wait",), ("so",))
    assert list(found.examples) == ["strongest", "highest quarter"]
    (example,) = found.examples["strongest"]
    assert (example.tokens, example.activations, example.peak) == (("a", " Wait", "…"), (0.0, 2.0, 1.0), 1)


def test_latents_that_never_fired_are_dead_in_the_files(adapter: Adapter, tmp_path: Path) -> None:
    dead = replace(RECORD, latent=(0, 1), strongest=[], quarters=[])
    write_packed(features_of([dead, RECORD], adapter), tmp_path, n_layers=2, n_latents=4)
    files = FeatureFiles.open(tmp_path)
    assert files.read(0, 1) is None
    assert files.read(1, 2) == next(features_of([RECORD], adapter))
