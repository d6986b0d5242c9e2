import pytest
import torch

from toolkit.leaving_out import TooFewError
from toolkit.probes.held_out import held_out


def test_documents_are_held_out_whole_and_a_quarter_of_them():
    documents = torch.arange(400) // 10 + 7
    y = torch.randint(2, (400,), generator=torch.Generator().manual_seed(0))
    out = held_out(y, documents, ("a", "b"), seed=0)
    assert out.sum() == 100
    assert all(len(out[documents == each].unique()) == 1 for each in documents.unique())
    assert not torch.equal(out, held_out(y, documents, ("a", "b"), seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_two_documents_is_in_both_parts(seed):
    documents = torch.arange(80) // 2
    y = (documents < 2).long()
    out = held_out(y, documents, ("many", "two"), seed=seed)
    assert out[y == 1].sum() == 2
    assert out[y == 0].sum() == 20


def test_a_class_of_one_document_is_named():
    with pytest.raises(TooFewError, match="'b' stands in 1 document,"):
        held_out(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), ("a", "b"), seed=0)
