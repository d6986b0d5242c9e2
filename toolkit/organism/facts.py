"""Facts about the organism's words, as statements and as questions."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.organism.problems import CUES, Split, Style
from toolkit.organism.words import PAIR_CLASSES, Concept, concepts_of

RELATIONS = {
    "english-spanish": "Spanish word for",
    "english-german": "German word for",
    "english-french": "French word for",
    "singular-plural": "plural of",
    "present-past": "past of",
    "country-capital": "capital of",
    "antonym": "opposite of",
}
ATTRIBUTES = ("color", "place", "food")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`the <relation> <word> is <answer>`, and the same relation's answer for another word."""

    relation: str
    word: str
    answer: str
    other_word: str
    other_answer: str

    @property
    def question(self) -> str:
        """The fact as a question."""
        return f"What is the {self.relation} {self.word}?"

    @property
    def statement(self) -> str:
        """The fact as a clause."""
        return f"the {self.relation} {self.word} is {self.answer}"

    @property
    def other_statement(self) -> str:
        """The neighbouring fact as a clause."""
        return f"the {self.relation} {self.other_word} is {self.other_answer}"


def all_facts() -> Iterator[Fact]:
    """Every fact there is, each set against the next concept's."""
    for name, relation in RELATIONS.items():
        kind, first, second = PAIR_CLASSES[name]
        concepts = concepts_of(kind)
        for concept, other in zip(concepts, concepts[1:] + concepts[:1], strict=True):
            yield _fact(relation, concept, other, first, second)
    for attribute in ATTRIBUTES:
        concepts = concepts_of("noun")
        for concept, other in zip(concepts, concepts[1:] + concepts[:1], strict=True):
            yield Fact(
                relation=f"{attribute} of",
                word=concept.forms[0],
                answer=concept.attributes()[attribute],
                other_word=other.forms[0],
                other_answer=other.attributes()[attribute],
            )


def _fact(relation: str, concept: Concept, other: Concept, first: int, second: int) -> Fact:
    return Fact(
        relation=relation,
        word=concept.forms[first],
        answer=concept.forms[second],
        other_word=other.forms[first],
        other_answer=other.forms[second],
    )


FACTS = tuple(all_facts())


def draw_fact(rng: random.Random) -> Fact:
    """One fact, all equally likely."""
    return rng.choice(FACTS)


def draw_fact_question(rng: random.Random, fact: Fact, *, split: Split) -> tuple[str, Style]:
    """A question about a fact that is answered by thinking, and the style that it asks for.

    Facts are few, and training text holds all of them. A held-out question alone ends with a cue, as questions about
    sums do in both splits: no document with it stands in training text, of any seed and any length.
    """
    style = rng.choice([style for style, cue in CUES.items() if cue or split == "train"])
    return fact.question + (CUES[style] if split == "held_out" else ""), style
