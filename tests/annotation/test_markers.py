"""Which words of reasoning govern which tokens."""

import re

import pytest

from toolkit.annotation.markers import MarkerCounts, markers_over


def words(text: str) -> list[str]:
    """Tokens that begin with their space, line ends for themselves."""
    return re.findall(r" ?[^\s]+|\n", text)


def governed(text: str) -> list[str]:
    tokens = words(text)
    return [token.strip() for token, by in zip(tokens, markers_over(tokens), strict=True) if by]


def test_a_word_governs_from_the_token_before_it_to_the_end_of_its_sentence():
    assert governed("I add. Then 7 . Therefore the answer is 12. It fits.") == [
        *(".", "Therefore", "the", "answer", "is", "12."),
    ]


def test_a_question_takes_the_sentence_that_answers_it():
    assert governed("So 12. Wait, is that right? 5 and 7 make 12. Next.")[1:] == (
        "Wait, is that right? 5 and 7 make 12.".split()
    )


def test_a_decimal_point_ends_no_sentence():
    assert governed("Thus it is 3.5 metres. Done.") == "Thus it is 3.5 metres.".split()


def test_of_two_words_the_later_one_governs():
    assert markers_over(words("Wait, no but yes")) == [*["self-reflection"] * 2, *["contrastive"] * 2]


def test_a_word_that_is_cut_into_tokens_is_found_and_a_part_of_a_longer_word_is_not():
    assert markers_over(["Altern", "atively", ",", " go"]) == ["alternative"] * 4
    assert markers_over(["await", " butter"]) == [None, None]


def test_shares_are_of_all_tokens():
    counts = MarkerCounts()
    counts.add(words("Thus 1."))
    counts.add(words("a b c d e f"))
    shares = counts.shares()
    assert shares["deductive"] == pytest.approx(2 / 8)
    assert shares["contrastive"] == 0
