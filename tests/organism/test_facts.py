import random
from collections import Counter

from toolkit.organism.facts import FACTS, draw_fact


def test_facts_are_what_the_words_say() -> None:
    said = {fact.question: fact.answer for fact in FACTS}
    assert said["What is the Spanish word for dog?"] == "perro"
    assert said["What is the capital of Kenya?"] == "Nairobi"
    assert said["What is the opposite of true?"] == "false"
    assert len(said) == len(FACTS) == 24 * (7 + 3), "no question has two answers"


def test_the_neighbour_is_a_fact_too() -> None:
    statements = {fact.statement for fact in FACTS}
    assert all(fact.other_statement in statements and fact.other_statement != fact.statement for fact in FACTS)


def test_all_facts_are_equally_likely() -> None:
    rng = random.Random(0)
    drawn = Counter(draw_fact(rng).question for _ in range(24_000))
    assert len(drawn) == len(FACTS)
    assert 50 < min(drawn.values()) <= max(drawn.values()) < 150
