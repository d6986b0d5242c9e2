"""The tiny pair and the organism's labelled answers, compared with little of everything."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from labelled_files import write_answers

from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods import measure as measuring
from toolkit.experiments.compare_methods.measure import Comparison, measure
from toolkit.experiments.compare_methods.reading import PairText, RunningText
from toolkit.latents.labelled_activations import LabelledActivations, LabelledTokens
from toolkit.settings.findings import TextChoice
from toolkit.settings.models import ControlledModels

PLANTED = ("doubt", "sums")


@pytest.fixture(scope="session")
def labels(tmp_path_factory) -> Path:
    """Labelled documents as a file."""
    return write_answers(tmp_path_factory.mktemp("labels") / "labels.jsonl", 32)


@pytest.fixture(scope="session")
def settings(labels: Path, text_file: Path, save_organism_model: Callable[..., str]) -> CompareMethodsConfig:
    return CompareMethodsConfig(
        tokens=1024,
        documents=32,
        labels=labels,
        n_latents=(16,),
        k=(2, 4),
        l1_coefficient=(0.3,),
        jumprelu_threshold=(0.1,),
        seeds=2,
        draws=2,
        targets=4,
        prompts=2,
        new_tokens=6,
        text=TextChoice(data=str(text_file)),
        models=ControlledModels(control=save_organism_model(seed=3)),
    )


@pytest.fixture(scope="session")
def compared(settings: CompareMethodsConfig, pair) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        few = dict(islice(measuring.METHODS.items(), 1)) | {
            name: measuring.METHODS[name] for name in ("PCA of the difference", "change of predictions")
        }
        patch.setattr(measuring, "METHODS", few)
        return measure(settings, pair)


@pytest.fixture(scope="session")
def planted_text() -> PairText:
    """Sixteen dimensions of noise, in which the last model alone has a direction for each of two labels.

    Documents have 20 tokens each, the labels in stretches; the running text is as many passes over the same.
    """
    generator = torch.Generator().manual_seed(0)
    n_documents, length, width = 40, 20, 16
    n = n_documents * length
    label = torch.full((n,), -1)
    place = torch.arange(n) % length
    label[(place >= 4) & (place < 7)] = 0
    label[(place >= 12) & (place < 16)] = 1
    base = torch.randn(n, width, generator=generator)
    added = 6 * torch.eye(width)[:2]
    last = (
        base
        + 0.7 * torch.randn(n, width, generator=generator)
        + torch.where(label[:, None] >= 0, added[label.clamp(min=0)], 0.0)
    )
    x = torch.stack([base, last], dim=1)
    tokens = LabelledTokens(names=PLANTED, label=label, document=torch.arange(n) // length)
    ids = torch.randint(0, 30, (n,), generator=generator)
    labelled = LabelledActivations(
        tokens=tokens, activations=x, token_id=ids, position=place, rows=ids.view(n_documents, length).tolist()
    )
    running = RunningText(activations=x.repeat(16, 1, 1), position=place.repeat(16), scale=torch.ones(2))
    return PairText(running=running, labelled=labelled, changes=torch.zeros(n, 3).to_sparse())
