from collections import Counter

import pytest
import torch

from toolkit.experiments.harmonic_probes.labels import LabelledPlaces
from toolkit.experiments.harmonic_probes.sampling import Split, sampled, shuffled_by_document, token_alone
from toolkit.leaving_out import TooFewError

DOCUMENTS, LENGTH = 40, 30


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def places(label: torch.Tensor, classes: tuple[str, ...], ids: torch.Tensor | None = None) -> LabelledPlaces:
    """Places of documents of one length, in order."""
    place = torch.arange(len(label))
    return LabelledPlaces(
        classes=classes,
        document=place // LENGTH,
        position=1 + place % LENGTH,
        label=label,
        token_id=torch.zeros_like(label) if ids is None else ids,
    )


def split() -> Split:
    return Split.random(DOCUMENTS, 3, chance())


def test_tests_and_draws_share_no_document():
    found = split()
    everywhere = places(torch.zeros(DOCUMENTS * LENGTH, dtype=torch.long), ("one",))
    parts = [found.tests(everywhere), *found.fits(everywhere)]
    documents = [set(everywhere.document[part].tolist()) for part in parts]
    assert [len(part) for part in documents] == [10] * 4
    assert len(set.union(*documents)) == DOCUMENTS


def test_too_few_documents_for_all_draws_are_refused():
    with pytest.raises(ValueError, match=r"31 labelled documents: 3 draws .* give 32 or more"):
        Split.random(31, 3, chance())


def test_two_classes_have_each_token_as_often_in_every_part():
    ids = torch.randint(0, 5, (DOCUMENTS * LENGTH,), generator=chance())
    label = (torch.rand(len(ids), generator=chance()) < 0.1 + 0.15 * ids).long()  # the token tells a lot
    part = split()
    found = sampled("a label", places(label, ("no", "yes"), ids), part, 1000, chance())
    assert found.matched
    drawn = found.places
    cells = zip(drawn.token_id.tolist(), part.part[drawn.document].tolist(), drawn.label.tolist(), strict=True)
    counts = Counter(cells)
    assert len(counts) == 40
    assert all(counts[token, where, 0] == counts[token, where, 1] for token, where, _ in counts)


def test_several_classes_are_drawn_as_often_each_where_there_are_as_many():
    label = torch.arange(DOCUMENTS * LENGTH) % 12 % 5 % 3  # 0, 1 and 2, of other frequencies
    found = sampled("a label", places(label, ("a", "b", "c")), split(), 60, chance())
    assert not found.matched
    assert found.places.counts() == [240, 240, 200]  # 60 in each of four parts, or all


def test_a_rare_class_is_left_out_by_name_with_its_number_and_a_remedy():
    label = torch.arange(DOCUMENTS * LENGTH) % 3
    label[:7] = 3
    found = sampled("mood", places(label, ("a", "b", "c", "rare")), split(), 60, chance())
    assert found.places.classes == ("a", "b", "c")
    assert set(found.places.label.tolist()) == {0, 1, 2}
    assert found.left_out == {
        "rare": "mood: class 'rare' has 7 tokens, 0 of them in one part of the documents, and a probe needs 10 in each"
        " part: give more --documents or fewer --draws"
    }


def test_labels_that_are_all_equal_are_refused():
    with pytest.raises(TooFewError, match="mood: all 1,200 tokens are 'b': a probe needs documents with two classes"):
        sampled("mood", places(torch.ones(DOCUMENTS * LENGTH, dtype=torch.long), ("a", "b")), split(), 60, chance())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_too_few_tokens_asked_for_are_refused_with_the_setting_to_raise(n_classes):
    label = torch.arange(DOCUMENTS * LENGTH) % n_classes
    with pytest.raises(TooFewError, match=r"a probe needs 10 in each part: give more --tokens$"):
        sampled("mood", places(label, tuple("abc"[:n_classes])), split(), 5, chance())


def test_classes_that_share_no_token_cannot_be_matched():
    label = torch.arange(DOCUMENTS * LENGTH) % 2
    with pytest.raises(TooFewError, match="class 'a' has 0 tokens whose token stands in the other class too"):
        sampled("mood", places(label, ("a", "b"), label), split(), 60, chance())


def test_shuffled_labels_move_between_documents_and_stay_alike_within_them():
    document = torch.arange(20).repeat_interleave(5)
    label = (document < 10).long()
    order = torch.randperm(100, generator=chance())
    found = shuffled_by_document(label[order], document[order], chance())
    assert found.sum() == 50
    by_document = [set(found[document[order] == number].tolist()) for number in range(20)]
    assert all(len(each) == 1 for each in by_document)
    assert 0 < (found == label[order]).sum() < 100


def test_the_token_alone_says_its_most_frequent_class_where_probes_are_fitted():
    ids = torch.tensor([0, 0, 0, 1, 1, 0, 1, 2])
    label = torch.tensor([0, 0, 1, 1, 1, 1, 1, 0])
    fits = torch.tensor([True] * 5 + [False] * 3)
    said, known = token_alone(places(label, ("a", "b"), ids), fits, ~fits)
    assert said[:2].tolist() == [0, 1]
    assert known.tolist() == [True, True, False]
