"""Compares an answer with the right one without algebra: as text, as a letter of a choice, as numbers."""

import re
from typing import Literal, NamedTuple

from toolkit.answers.quantities import FUNCTIONS, SCALES, is_unit, quantity_of, same_quantity
from toolkit.answers.spelling import letters_of, spelt

Means = Literal["text", "number", "letter"]
CHOICE = re.compile(
    r"(?:(?:option|choice|answer)\s+)?(?:\(\s*([A-Ha-h])\s*\)|([A-Ha-h])(?=[.):,]|\s|$)[.):]?)\s*(.*)", re.IGNORECASE
)
OTHER_LETTER = re.compile(r"(?<![\w\\])[A-H](?!\w)")
NAMED = re.compile(r"[a-zA-Z](?:_\w|\([a-zA-Z]\))?\s*(?:=|\\in(?![a-zA-Z]))\s*(?=\S)")
"""A variable with what it is, as in `x =` and `x \\in`."""
WORDS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\}")
EQUATION = re.compile(r"(?<![<>!])=|\\in(?![a-zA-Z])")
OPERATOR = re.compile(r"(?:[-+*/=^(,<>{]|\\(?:times|div|cup|cap|in|le|ge|ne|pm))$")
PAIRS = {"(": ")", "[": "]", "\\{": "\\}"}
SUM = re.compile(r"[-+]?\d+(?:\.\d+)?(?:\s*[-+]\s*\d+(?:\.\d+)?)+")


class Comparison(NamedTuple):
    """Whether two answers are the same, and what told."""

    same: bool
    means: Means


def compare(said: str, wanted: str) -> Comparison | None:
    """Tell whether an answer is the wanted one; None where only algebra can tell.

    Text is compared without regard to LaTeX's layout, spaces and, in words, capitals. Where the wanted answer is a
    letter of a choice, the letter said counts; where both are numbers, their values do. A list is compared part by
    part: in order within brackets, which count, and in any order without them or in braces.
    """
    return _compare(spelt(said), spelt(wanted))


def is_algebra(answer: str) -> bool:
    """Whether an answer may be read as mathematics: it holds no words beside units at its end."""
    return not set(WORDS.findall(ENVIRONMENT.sub("", algebra_of(answer)).casefold())) - FUNCTIONS


def is_left_undone(said: str, wanted: str) -> bool:
    """Whether an answer is a sum of numbers that was not worked out, such as 22 - 8, and the wanted one a number."""
    return bool(SUM.fullmatch(spelt(said))) and quantity_of(spelt(wanted)) is not None


def algebra_of(answer: str) -> str:
    """Return an answer in one spelling without the words at its end, which are units."""
    return _without_unit(spelt(answer))


def _without_unit(answer: str) -> str:
    *words, last = answer.split(" ")
    while words and not OPERATOR.search(words[-1]) and _is_unit_alone(last.casefold()):
        *words, last = words
    return " ".join([*words, last])


def _is_unit_alone(word: str) -> bool:
    """Whether a word is a unit wherever it stands: no single letter, which may be a variable."""
    return len(word) > 1 and is_unit(word, apart=True) and word not in SCALES


def _compare(said: str, wanted: str) -> Comparison | None:
    if letters_of(said) == letters_of(wanted):
        return Comparison(True, "text")
    if wanted_letter := _letter(wanted, alone=True):
        return Comparison(_letter(said) == wanted_letter, "letter")
    if bool(EQUATION.search(said)) != bool(EQUATION.search(wanted)):
        said, wanted = _valued(said), _valued(wanted)
        if letters_of(said) == letters_of(wanted):
            return Comparison(True, "text")
    first, second = quantity_of(said), quantity_of(wanted)
    if first and second:
        same = same_quantity(first, second)
        return None if same is None else Comparison(same, "number")
    if letters_of(wanted) == letters_of(_without_unit(said)) or letters_of(said) == letters_of(_without_unit(wanted)):
        return Comparison(True, "text")
    if parts := _compare_parts(said, wanted):
        return parts
    words = _is_word(said), _is_word(wanted)
    return Comparison(False, "text") if any(words) and (all(words) or first or second) else None


def _letter(answer: str, *, alone: bool = False) -> str | None:
    """The letter of a choice that an answer is, or, unless `alone`, begins with; a wanted one is a capital."""
    found = CHOICE.fullmatch(answer)
    if found is None:
        return None
    bracketed, plain, rest = found.groups()
    letter = bracketed or plain
    if (alone or rest) and not letter.isupper():
        return None
    if (alone and rest and not bracketed) or {*OTHER_LETTER.findall(rest)} - {letter}:
        return None
    return letter.upper()


def _valued(answer: str) -> str:
    """What an equation, or a variable with its value, says: what stands behind its last sign of equality."""
    return NAMED.sub("", answer, count=1) if NAMED.match(answer) else EQUATION.split(answer)[-1].strip()


def _is_word(answer: str) -> bool:
    """Whether an answer is words: letters that are no product of variables."""
    return answer.replace(" ", "").isalpha() and len(answer) > 3 and not {*answer.casefold().split()} <= FUNCTIONS


def _compare_parts(said: str, wanted: str) -> Comparison | None:
    (opened, ended, said_parts), (opening, ending, wanted_parts) = _parts(said), _parts(wanted)
    if max(len(said_parts), len(wanted_parts)) < 2:
        return None
    if opened and opening and (opened, ended) != (opening, ending):
        return Comparison(False, "text")
    if len(wanted_parts) == 1 and not opened and all(_same(each, wanted) for each in said_parts):
        return Comparison(True, "number")  # one value in several ways
    if len(said_parts) != len(wanted_parts):
        return Comparison(False, "text") if _plain(said_parts) and _plain(wanted_parts) else None
    ordered = bool({opened, opening} - {"", "\\{"})
    found = [[_compare(each, other) for other in wanted_parts] for each in said_parts]
    if any(one is None for row in found for one in row):
        return None
    same = [[bool(one and one.same) for one in row] for row in found]
    if ordered:
        return Comparison(all(row[place] for place, row in enumerate(same)), "number")
    left = list(range(len(wanted_parts)))
    for row in same:
        if (place := next((place for place in left if row[place]), None)) is None:
            return Comparison(False, "number")
        left.remove(place)
    return Comparison(True, "number")


def _same(said: str, wanted: str) -> bool:
    found = _compare(said, wanted)
    return found is not None and found.same


def _plain(parts: list[str]) -> bool:
    return all(quantity_of(_valued(part)) for part in parts)


def _parts(answer: str) -> tuple[str, str, list[str]]:
    """The brackets around a list, empty where it has none, and its parts; a text that is no list is its only part."""
    opening = next((each for each in PAIRS if answer.startswith(each)), "")
    ending = next((each for each in PAIRS.values() if answer.endswith(each)), "")
    inner = answer[len(opening) : len(answer) - len(ending)] if opening and ending else answer
    if not opening or not ending or not _balanced(inner):
        opening, ending, inner = "", "", re.sub(r"\s+(?:and|or)\s+", ", ", answer)
    return opening, ending, [part.strip() for part in _split(inner)]


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return not depth


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets; where spaces follow commas, one between thousands stays."""
    commas = r",(?!\d{3}(?!\d))|,(?=\s)" if re.search(r",\s", text) else ","
    parts, start, depth = [], 0, 0
    places = {found.start() for found in re.finditer(commas, text)}
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if place in places and not depth:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
