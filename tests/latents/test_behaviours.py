from collections.abc import Callable, Iterator
from itertools import islice

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from transformers import Qwen2Config

from toolkit.harvest.tokens import TokenMask
from toolkit.latents.behaviours import LabelledCodes, behaviour_latents, labelled_codes, planted_behaviours
from toolkit.models.pair import ModelPair
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS
from toolkit.organism.tokenizer import train_tokenizer

N_DOCUMENTS, ROW_LENGTH = 40, 320  # more than one batch


@pytest.fixture(scope="module")
def organism_pair(save_model) -> ModelPair:
    """Two random models with the organism's tokenizer."""
    tokenizer = train_tokenizer(document.text for document in islice(documents("thinking"), 50))
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = Qwen2Config(**shape, num_key_value_heads=2, vocab_size=len(tokenizer), max_position_embeddings=1024)
    base, distilled = (str(save_model(config, seed, tokenizer)) for seed in (1, 2))
    return ModelPair.from_pretrained(base=base, distilled=distilled, layers=[2], where="cpu")


@pytest.fixture
def mask(organism_pair) -> TokenMask:
    special = frozenset(organism_pair.tokenizer.all_special_ids)
    return TokenMask(special_ids=special, keep_position_0=False, outlier_factor=1000.0)


def truth(pair: ModelPair, n_documents: int) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """Each document's labels token by token, which of its tokens count, and its residual streams."""
    special = set(pair.tokenizer.all_special_ids)
    for document in islice(documents("thinking", split="held_out", seed=23), n_documents):
        encoding = pair.tokenizer(document.text, return_offsets_mapping=True)
        labels = [
            next((BEHAVIOURS.index(span.behaviour) for span in document.spans if span.start < end <= span.end), -1)
            for _, end in encoding["offset_mapping"]
        ]
        kept = [i for i, token in enumerate(encoding["input_ids"]) if i and token not in special]
        yield labels, kept, pair.read(document.text)


def test_codes_and_labels_against_a_loop_over_documents(organism_pair, identity, mask):
    data = labelled_codes(organism_pair, identity, mask, planted_behaviours(N_DOCUMENTS), ROW_LENGTH)
    codes = data.codes.to_dense()
    for number, (labels, kept, residual) in enumerate(truth(organism_pair, N_DOCUMENTS)):
        here = data.document == number
        assert data.label[here].tolist() == [labels[i] for i in kept]
        torch.testing.assert_close(codes[here], identity.encode(residual[kept]), rtol=1e-4, atol=1e-5)
    assert set(data.label.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert int(data.document.max()) == N_DOCUMENTS - 1


def test_control_labels_are_those_of_the_document_before(organism_pair, identity, mask):
    data = labelled_codes(organism_pair, identity, mask, planted_behaviours(4), ROW_LENGTH)
    found = list(truth(organism_pair, 4))
    for number, (_, kept, _) in enumerate(found):
        before = found[number - 1][0]
        expected = [before[i] if i < len(before) else -1 for i in kept]
        assert data.shifted[data.document == number].tolist() == expected


@pytest.fixture
def planted() -> Callable[..., LabelledCodes]:
    """Codes of 60 documents, of 50 tokens each, in which latent 3 + i fires on behaviour i, more or less."""

    def make(noise: float) -> LabelledCodes:
        generator = torch.Generator().manual_seed(0)
        behaviour = torch.randint(-1, 5, (3000,), generator=generator)
        codes = noise * torch.rand(3000, 12, generator=generator).sub(0.5).relu()
        for i in range(5):
            codes[:, 3 + i] += (behaviour == i) * 0.3
        shifted = behaviour[torch.randperm(3000, generator=generator)]
        return LabelledCodes(
            names=BEHAVIOURS, codes=codes, label=behaviour, shifted=shifted, document=torch.arange(3000) // 50
        )

    return make


def test_planted_latents_are_found(planted):
    found = behaviour_latents(planted(noise=0.0), torch.Generator().manual_seed(0))
    assert [(row.behaviour, row.latent) for row in found] == [(name, 3 + i) for i, name in enumerate(BEHAVIOURS)]
    for row in found:
        assert (row.auroc, row.low, row.high) == (1, 1, 1)
        assert row.control_auroc == pytest.approx(0.5, abs=0.05)
        assert row.firing_rate == pytest.approx(1 / 6, abs=0.03)


def test_a_latent_is_judged_on_the_documents_that_did_not_choose_it(planted):
    data = planted(noise=1.0)
    odd = data.document % 2 == 1
    for i, row in enumerate(behaviour_latents(data, torch.Generator().manual_seed(0))):
        labels = data.label[odd] == i
        assert row.latent == 3 + i
        assert row.auroc == pytest.approx(roc_auc_score(labels, data.codes[odd, row.latent]), abs=1e-6)
        assert row.low < row.auroc < row.high < 1
        assert row.n_tokens == int(labels.sum())


def test_pure_noise_is_no_better_than_its_control(planted):
    data = planted(noise=1.0)
    noise = LabelledCodes(
        names=BEHAVIOURS, codes=data.codes[:, :3], label=data.label, shifted=data.shifted, document=data.document
    )
    for row in behaviour_latents(noise, torch.Generator().manual_seed(0)):
        assert row.low < 0.5 < row.high or abs(row.auroc - 0.5) < 0.05
        assert row.control_auroc == pytest.approx(0.5, abs=0.05)
