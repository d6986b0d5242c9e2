from toolkit.organism.words import CONCEPTS, PAIR_CLASSES, all_words, concepts_of, word_pairs


def test_each_class_has_24_different_pairs() -> None:
    for name in PAIR_CLASSES:
        pairs = word_pairs(name)
        assert len(set(pairs)) == 24
        assert all(first != second for first, second in pairs)
    assert ("dog", "perro") in word_pairs("english-spanish")
    assert ("Japan", "Tokyo") in word_pairs("country-capital")
    assert ("hot", "cold") in word_pairs("antonym")


def test_attributes_tell_concepts_apart() -> None:
    triples = {(concept.color, concept.place, concept.food) for concept in CONCEPTS}
    assert len(triples) == len(CONCEPTS) == 96


def test_every_form_is_there() -> None:
    assert len(all_words()) == 24 * (5 + 2 + 2 + 2)
    assert {len(concept.forms) for concept in concepts_of("noun")} == {5}
    assert CONCEPTS[0].attributes().keys() == {"color", "place", "food"}
