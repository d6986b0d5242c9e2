"""Hand-made streams whose class centres are known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from labelled_files import write_answers

from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.labels import LabelledPlaces
from toolkit.experiments.harmonic_probes.probing import Probed, probe
from toolkit.experiments.harmonic_probes.reading import FrozenStreams

DOCUMENTS, TOKENS, WIDTH = 64, 12, 8


@pytest.fixture(scope="session")
def planted() -> Callable[..., FrozenStreams]:
    """Streams of one model: a class's centre, what the document adds, and noise."""

    def make(
        centres: torch.Tensor, *, noise: float = 0.3, of_document: float = 0.0, by_document: bool = False, seed: int = 0
    ) -> FrozenStreams:
        chance, n_classes = torch.Generator().manual_seed(seed), len(centres)
        document = torch.arange(DOCUMENTS).repeat_interleave(TOKENS)
        label = torch.arange(len(document)) % n_classes
        if by_document:
            label = torch.randint(0, n_classes, (DOCUMENTS,), generator=chance)[document]
        added = of_document * torch.randn(DOCUMENTS, centres.shape[1], generator=chance)[document]
        x = centres[label] + added + noise * torch.randn(len(document), centres.shape[1], generator=chance)
        places = LabelledPlaces(
            classes=tuple("abcdef"[:n_classes]),
            document=document,
            position=1 + torch.arange(len(document)) % TOKENS,
            label=label,
            token_id=torch.zeros_like(label),
        )
        part = document % 4
        return FrozenStreams(
            places=places,
            layers=(0,),
            streams={"one": x[:, None]},
            tests=part == 0,
            fits=tuple(part == draw for draw in (1, 2, 3)),
        )

    return make


@pytest.fixture(scope="session")
def centres() -> torch.Tensor:
    """Four points, no two pairs of which are as far apart."""
    points = torch.zeros(4, WIDTH)
    points[[1, 2, 3], [0, 1, 2]] = torch.tensor([1.5, 2.5, 4.0])
    return points


@pytest.fixture(scope="session")
def spans(tmp_path_factory) -> Path:
    """The organism's answers as a file, with their behaviours."""
    return write_answers(tmp_path_factory.mktemp("spans") / "spans.jsonl", 48, seed=3)


@pytest.fixture(scope="session")
def asked(spans) -> HarmonicProbesConfig:
    """Probes of two layers, fitted to few tokens."""
    return HarmonicProbesConfig(spans=spans, tokens=30, draws=2, layers=(0, 1))


@pytest.fixture(scope="session")
def probed(asked, pair) -> Probed:
    """What they find."""
    return probe(asked, pair)
