"""Explanations as sentences, as what they say of tokens, and read back."""

import pytest

from toolkit.annotation.predicates import Predicate, is_kind, parse_predicate

PREDICATES = {
    'fires on " Wait", "Wait"': Predicate(on=frozenset({"Wait", " Wait"})),
    'fires on numbers after " plus"': Predicate(on="numbers", after=frozenset({" plus"})),
    "fires on any token in sentences of self-reflection": Predicate(on="any token", under="self-reflection"),
    r'fires on "\n", "\"", "\\" after ", " in sentences of deductive': Predicate(
        on=frozenset({'"', "\\", "\n"}), after=frozenset({", "}), under="deductive"
    ),
}


@pytest.mark.parametrize("sentence", PREDICATES)
def test_a_sentence_is_read_back_as_the_predicate_that_wrote_it(sentence):
    assert str(PREDICATES[sentence]) == sentence
    assert parse_predicate(sentence) == PREDICATES[sentence]
    assert parse_predicate(f"{sentence}; 90% of its activation is in the thinking") == PREDICATES[sentence]


def test_other_words_are_no_predicate():
    assert parse_predicate("words of doubt, such as wait") is None


def test_all_conditions_must_hold():
    tokens = ["Wait", ",", " 5", " and", " 5", ".", " 5"]
    on = frozenset({" 5"})
    assert Predicate(on=on).holds(tokens) == [False, False, True, False, True, False, True]
    assert Predicate(on=on, after=frozenset({","})).holds(tokens) == [False, False, True, *[False] * 4]
    assert Predicate(on=on, under="self-reflection").holds(tokens) == [False, False, True, False, True, False, False]


@pytest.mark.parametrize(
    ("kind", "tokens", "others"),
    [
        ("numbers", [" 12", "7"], [" x", "", " ", "3rd"]),
        ("operators", [" +", "="], ["+1", "."]),
        ("punctuation", [".", ' ("', "?!"], ["+", " a", " "]),
        ("white space", ["\n", " "], [".\n", "a"]),
        ("words of another language", [" el", " Tür", "猫"], [" dog", "7", "."]),
    ],
)
def test_kinds_of_tokens(kind, tokens, others):
    assert all(is_kind(token, kind) for token in tokens)
    assert not any(is_kind(token, kind) for token in others)
