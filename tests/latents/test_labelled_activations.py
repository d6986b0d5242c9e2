from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config

from toolkit.harvest.tokens import TokenMask
from toolkit.latents.behaviours import planted_behaviours
from toolkit.latents.labelled_activations import labelled_activations
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
    return ModelPair.from_pretrained(base=base, distilled=distilled, layers=[2])


@pytest.fixture
def mask(organism_pair) -> TokenMask:
    special = frozenset(organism_pair.tokenizer.all_special_ids)
    return TokenMask(special_ids=special, keep_position_0=False, outlier_factor=1000.0)


def truth(pair: ModelPair, n_documents: int) -> Iterator[tuple[list[int], list[int], list[int], Tensor]]:
    """Each document's ids, its labels token by token, which of its tokens count, and its residual streams."""
    special = set(pair.tokenizer.all_special_ids)
    for document in islice(documents("thinking", split="held_out", seed=23), n_documents):
        encoding = pair.tokenizer(document.text, return_offsets_mapping=True)
        labels = [
            next((BEHAVIOURS.index(span.behaviour) for span in document.spans if span.start < end <= span.end), -1)
            for _, end in encoding["offset_mapping"]
        ]
        kept = [i for i, token in enumerate(encoding["input_ids"]) if i and token not in special]
        yield encoding["input_ids"], labels, kept, pair.read(document.text).cpu()


def test_activations_and_labels_against_a_loop_over_documents(organism_pair, mask):
    data = labelled_activations(organism_pair, mask, planted_behaviours(N_DOCUMENTS), ROW_LENGTH)
    tokens = data.tokens
    for number, (ids, labels, kept, residual) in enumerate(truth(organism_pair, N_DOCUMENTS)):
        here = tokens.document == number
        assert tokens.label[here].tolist() == [labels[i] for i in kept]
        assert data.token_id[here].tolist() == [ids[i] for i in kept]
        assert data.position[here].tolist() == kept
        assert data.rows[number] == ids
        torch.testing.assert_close(data.activations[here], residual[kept], rtol=1e-4, atol=1e-5)
    assert set(tokens.label.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert int(tokens.document.max()) == N_DOCUMENTS - 1
    assert tokens.measurable == BEHAVIOURS


def test_documents_are_cut_at_the_row_s_length(organism_pair, mask):
    short = labelled_activations(organism_pair, mask, planted_behaviours(4), 20)
    assert torch.bincount(short.tokens.document).max() <= 19
