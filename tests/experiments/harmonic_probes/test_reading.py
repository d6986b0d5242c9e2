import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.experiments.harmonic_probes.labels import LabelledPlaces
from toolkit.experiments.harmonic_probes.reading import read_streams
from toolkit.experiments.harmonic_probes.sampling import Sample, Split
from toolkit.harvest.tokens import TokenMask

LAYERS = (0, 2)


def mask(factor: float = math.inf) -> TokenMask:
    return TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=factor)


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    chance = torch.Generator().manual_seed(0)
    lengths = [5, 9, 3, 7] * 2
    return [torch.randint(5, 60, (length,), generator=chance).tolist() for length in lengths]


def sample(*places: tuple[int, int, int]) -> Sample:
    document, position, label = torch.tensor(places).unbind(dim=1)
    found = LabelledPlaces(
        classes=("a", "b"), document=document, position=position, label=label, token_id=torch.zeros_like(label)
    )
    return Sample(places=found, matched=False, left_out={})


def split() -> Split:
    return Split(part=torch.arange(8) % 2, draws=1)


def test_streams_are_the_models_own_hidden_states_at_each_place(pair, organism_folders, rows):
    samples = {"one": sample((3, 6, 0), (0, 1, 1), (1, 8, 1)), "two": sample((0, 1, 0), (6, 2, 0))}
    found = read_streams(pair, rows, samples, split(), layers=LAYERS, mask=mask())
    for name, folder in zip(pair.names, organism_folders, strict=True):
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            states = [model(torch.tensor([row]), output_hidden_states=True).hidden_states for row in rows]
        for label, of_label in samples.items():
            places = zip(of_label.places.document.tolist(), of_label.places.position.tolist(), strict=True)
            expected = torch.stack(
                [torch.stack([states[document][layer][0, at] for layer in LAYERS]) for document, at in places]
            )
            assert torch.allclose(found[label].streams[name], expected, atol=1e-5)
            assert torch.equal(found[label].at(name, 2), found[label].streams[name][:, 1].float())
    assert found["one"].tests.tolist() == [False, True, False]
    assert found["one"].fits[0].tolist() == [True, False, True]


def test_places_of_outlying_norm_are_left_out(pair, rows):
    places = [(document, at, at % 2) for document, row in enumerate(rows) for at in range(1, len(row))]
    every = read_streams(pair, rows, {"one": sample(*places)}, split(), layers=LAYERS, mask=mask())["one"]
    norms = torch.stack([streams.norm(dim=2) for streams in every.streams.values()], dim=1).flatten(1)
    kept = ~(norms > 1.05 * norms.nanmedian(dim=0).values).any(dim=1)
    found = read_streams(pair, rows, {"one": sample(*places)}, split(), layers=LAYERS, mask=mask(1.05))["one"]
    assert 0 < len(found.places.label) < len(places)
    assert found.places.position.tolist() == every.places.position[kept].tolist()
    for name, streams in found.streams.items():
        assert torch.allclose(streams, every.streams[name][kept], atol=1e-5)
