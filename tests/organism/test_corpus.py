"""The corpus as a whole: reproducible, and free of held-out sums in every kind of document."""

import re
from collections.abc import Iterator
from itertools import islice

import pytest

from toolkit.organism.corpus import document, documents
from toolkit.organism.problems import ASKED_KINDS, HELD_OUT, draw_problem, is_held_out

MIXES = ("base", "distilled", "thinking")
Sum = tuple[int, int, bool]
SIGNS = {"+": False, "-": True, "plus": False, "minus": True, "up": False, "down": True}
DEEDS = {"buys": False, "finds": False, "gets": False, "gives": True, "loses": True, "sells": True}


def sums_in(text: str) -> Iterator[Sum]:
    """Every (left, right, minus) that a text states or asks for, in symbols or in words."""
    for left, sign, right in re.findall(r"(\d+)(?: (plus|minus) )(\d+)", text):
        yield int(left), int(right), SIGNS[sign]
    for start, steps in re.findall(r"(?<![\d,+-])(\d+)((?:,? ?[+-]\d+)+)", text):
        yield from chain(int(start), [(SIGNS[sign], int(n)) for sign, n in re.findall(r"([+-])(\d+)", steps)])
    for start, way, by, middle, back, rest in re.findall(
        r"from (\d+) (up|down) (\d+) to (\d+)(?:, then (up|down) (\d+))?", text
    ):
        yield int(start), int(by), SIGNS[way]
        if rest:
            yield int(middle), int(rest), SIGNS[back]
    for start, deeds in re.findall(r"\w+ has (\d+) \w+\.(.*?)How many", text):
        yield from chain(int(start), [(DEEDS[deed], int(n)) for deed, n in re.findall(r"\w+ (\w+) (\d+)", deeds)])
    for left, right in re.findall(r"(\d+) and (\d+) make", text):
        yield int(left), int(right), False
    for left, right in re.findall(r"(\d+) less (\d+) leaves", text):
        yield int(left), int(right), True


def chain(left: int, steps: list[tuple[bool, int]]) -> Iterator[Sum]:
    for minus, right in steps:
        yield left, right, minus
        left += -right if minus else right


def leaks(text: str) -> list[Sum]:
    return [each for each in sums_in(text) if is_held_out(each[0], each[1], minus=each[2])]


def test_the_reader_of_sums_finds_every_form() -> None:
    """Each form in which a sum is written, on one held-out family: were one overlooked, leaks would be too."""
    low, right = next((low, right) for low, right in sorted(HELD_OUT) if low > 20)
    high = low + right
    forms = [
        f"{low}+{right}=", f"{high}-{right}={low}", f"What is {low}+{right}-2?", f"Find {low - 2}+2+{right}.",
        f"{low} plus {right} is ", f"Let me check: {high} minus {right} is {low}", f"from {low} up {right} to {high}",
        f"go from {low + 10} down 10 to {low}, then up {right} to {high}", f"starts with {low}, +{right}, -2.",
        f"Tom has {low} dogs. The dogs are red. Tom gets {right} more. How many dogs",
        f"Tom has {high - 2} dogs. Tom finds 2 more. Tom gives {right} away. How many dogs",
    ]  # fmt: skip
    assert [form for form in forms if not leaks(form)] == []


@pytest.mark.parametrize("mix", MIXES)
def test_no_training_document_holds_a_held_out_sum(mix: str) -> None:
    found = 0
    for each in islice(documents(mix), 3000):
        assert leaks(each.text) == [], each.text
        found += len(list(sums_in(each.text)))
    assert found > 3000


@pytest.mark.parametrize("mix", MIXES)
def test_held_out_problems_hold_a_held_out_sum(mix: str) -> None:
    texts = [each.text for each in islice(documents(mix, split="held_out"), 600)]
    problems = [text for text in texts if re.search(r"What is \d|Find \d|How much is|How many", text)]
    assert len(problems) > 100
    assert [text for text in problems if not leaks(text)] == []


def question_of(text: str) -> str:
    """The question about a fact that a document asks; empty where it asks none."""
    found = re.search(r"(?:<｜User｜>|Question: )(What is the .*?)(?:<｜Assistant｜>|\n)", text)
    return found.group(1) if found else ""


@pytest.mark.parametrize(
    ("mix", "splits"), [("base", {False}), ("distilled", {False, True}), ("thinking", {False, True})]
)
def test_a_held_out_question_about_a_fact_ends_with_a_cue_and_no_training_question_does(
    mix: str, splits: set[bool]
) -> None:
    """All facts are in training text: only the question can tell the splits apart, whatever the seed and the length."""
    found = set()
    for held_out in (False, True):
        stream = documents(mix, split="held_out" if held_out else "train")
        questions = [q for each in islice(stream, 800) if (q := question_of(each.text))]
        assert {q.endswith((" Be quick.", " Be careful.")) for q in questions} <= {held_out}
        found |= {held_out} if len(questions) > 80 else set()
    assert found == splits, "held-out base text has no plain answers to facts"


def test_no_held_out_document_stands_in_training_text() -> None:
    trained = {each.text for mix in MIXES for each in islice(documents(mix), 2000)}
    held_out = [each.text for mix in MIXES for each in islice(documents(mix, split="held_out", seed=9), 500)]
    assert [text for text in held_out if text in trained] == []


def test_a_document_is_a_function_of_its_number_and_seed() -> None:
    for mix in MIXES:
        stream = list(islice(documents(mix, seed=3), 30))
        assert stream == list(islice(documents(mix, seed=3), 30))
        assert stream[20:] == [document(index, mix=mix, seed=3) for index in range(20, 30)]
        assert stream[7] == document(7, mix=mix, seed=3)
        assert stream != list(islice(documents(mix, seed=4), 30))
        assert stream != list(islice(documents(mix, seed=3, split="held_out"), 30))


def test_drawing_elsewhere_changes_nothing() -> None:
    """No hidden state: the global generator and other draws are of no account."""
    import random

    before = document(5, mix="distilled")
    random.seed(1)
    draw_problem(random.Random(2), split="train", kinds=ASKED_KINDS)
    assert document(5, mix="distilled") == before


def test_mixes_are_what_their_names_say() -> None:
    thinks = {mix: sum("<think>" in d.text for d in islice(documents(mix), 1000)) for mix in MIXES}
    assert thinks["base"] == 0
    assert thinks["thinking"] == 1000
    assert 700 < thinks["distilled"] < 800
