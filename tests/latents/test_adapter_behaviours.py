"""Spans that latents of an adapter find, beside what chance finds in the same MLPs' inputs."""

from itertools import islice

import pytest
import torch
from sklearn.metrics import roc_auc_score

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import numbered_latent
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.latents import adapter_behaviours
from toolkit.latents.adapter_behaviours import span_aurocs
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan
from toolkit.leaving_out import TooFewError
from toolkit.organism.corpus import documents
from toolkit.probes.linear import linear_probe

N_LATENTS, TRUTH = 20, (1, 7)
ROW_LENGTH = 48


@pytest.fixture(scope="module")
def labelled() -> LabelledDocuments:
    """Documents whose digits are labelled."""
    texts = [document.text for document in islice(documents("thinking"), 60)]
    found = [
        LabelledDocument(text, tuple(LabelledSpan(i, i + 1, "digit") for i, c in enumerate(text) if c.isdigit()))
        for text in texts
    ]
    return LabelledDocuments(documents=tuple(found), labels=("digit",))


@pytest.fixture(scope="module")
def models(organism_folders: tuple[str, str], labelled: LabelledDocuments) -> AdaptedModel:
    """An adapter of random latents, but for one that fires where a probe says that a digit is."""
    adapter = Adapter.initialised(
        AdapterConfig(d_model=16, n_layers=3, n_latents=N_LATENTS), torch.Generator().manual_seed(0)
    )
    for transcoder in adapter.transcoders:
        transcoder.b_enc.data.fill_(-0.5)
    base, distilled = organism_folders
    found = AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
    x, wanted, _ = inputs(found, labelled, TRUTH[0])
    row = linear_probe(x, wanted)
    found.transcoders[TRUTH[0]].W_enc.data[TRUTH[1]] = row
    found.transcoders[TRUTH[0]].b_enc.data[TRUTH[1]] = -(x @ row).quantile(0.6)
    return found


def inputs(models: AdaptedModel, labelled: LabelledDocuments, layer: int) -> tuple[torch.Tensor, ...]:
    """A layer's MLP inputs, document by document, whether each token is a digit, and of which document it is."""
    parts = []
    for number, document in enumerate(labelled.documents):
        ids = torch.tensor([models.tokenizer(document.text)["input_ids"][:ROW_LENGTH]])
        digit = torch.tensor([models.tokenizer.decode([token]).isdigit() for token in ids[0].tolist()])
        x = models.mlp_inputs(ids, torch.ones_like(ids))[layer][0]
        parts.append((x[1:], digit[1:], torch.full((len(digit) - 1,), number)))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def test_the_latent_that_is_the_truth_is_found_and_beats_random_directions(models, labelled):
    (found,) = span_aurocs(models, labelled, row_length=ROW_LENGTH)
    assert numbered_latent(found.latents[0][0], N_LATENTS) == TRUTH
    assert found.one.margin.low > 0.02
    assert found.ceiling.value > 0.9
    x, digit, document = inputs(models, labelled, TRUTH[0])
    with torch.no_grad():
        codes = models.transcoders[TRUTH[0]].encode(x)[:, TRUTH[1]].cpu()
    tested = document % 2 == 1
    assert found.one.auroc.value == pytest.approx(roc_auc_score(digit[tested], codes[tested]), abs=1e-3)
    assert found.n_tokens == int(digit[tested].sum())


def test_only_the_latents_that_are_named_compete_against_as_many_random_ones(models, labelled):
    (found,) = span_aurocs(models, labelled, latents=[(0, 3), (2, 5)], row_length=ROW_LENGTH)
    assert {numbered_latent(number, N_LATENTS) for number in found.latents[0]} == {(0, 3), (2, 5)}
    assert found.one.auroc.value < 0.8
    with pytest.raises(ValueError, match="latent 3/0 does not exist: the adapter has layers 0 to 2, each with"):
        span_aurocs(models, labelled, latents=[(3, 0)])


def test_reading_layer_by_layer_changes_nothing(models, labelled, monkeypatch):
    (whole,) = span_aurocs(models, labelled, row_length=ROW_LENGTH)
    monkeypatch.setattr(adapter_behaviours, "NUMBERS_HELD", 1)
    (parts,) = span_aurocs(models, labelled, row_length=ROW_LENGTH)
    assert parts.latents == whole.latents
    assert (parts.one.margin, parts.one.floor, parts.ceiling) == (whole.one.margin, whole.one.floor, whole.ceiling)


def test_latents_that_never_fire_are_an_error(models, labelled):
    models.transcoders[2].b_enc.data[5] = -1e6
    with pytest.raises(TooFewError, match="none of 1 latents fires on the labelled documents"):
        span_aurocs(models, labelled, latents=[(2, 5)], row_length=ROW_LENGTH)
