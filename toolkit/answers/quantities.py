"""Reads numbers as people write them: with thousands, fractions, powers of ten, currencies, percent and units."""

import re
from fractions import Fraction
from typing import NamedTuple

PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)"
CURRENCY = r"(?:US)?[$€£¥]"
FRACTION = rf"""(?:(?P<whole>\d+)(?:\s*(?=\\)|\s+|\s*\+\s*(?=\\)))?
    (?:\\frac\s*\{{\s*(?P<above>-?{PLAIN})\s*\}}\s*\{{\s*(?P<below>-?{PLAIN})\s*\}}
      |(?P<over>{PLAIN})\s*/\s*(?P<under>{PLAIN}))"""
DECIMAL = (
    rf"(?P<plain>{PLAIN})(?:[eE](?P<exponent>[-+]?\d+)|\s*(?:\\times|\*|x)\s*10\s*\^\s*\{{?(?P<power>[-+]?\d+)\}}?)?"
)
NUMBER = re.compile(
    rf"""(?P<before>(?:[A-Za-z']{{2,}}[ ])*)(?P<sign>[-+]?)\s*(?:{CURRENCY})?\s*
    (?:{FRACTION}|10\s*\^\s*\{{?(?P<ten>[-+]?\d+)\}}?|{DECIMAL})
    \s*(?P<percent>%|percent\b)?\s*(?:{CURRENCY})?\s*(?P<after>[A-Za-z][A-Za-z0-9 '/^{{}}-]*)?""",
    re.VERBOSE,
)
GREATEST_POWER = 300
SHORT = frozenset("m g s h l cm mm km kg mg ml ft in lb lbs oz hr hrs am pm mph km/h m/s".split())
"""Units that are not words; other letters right behind a number are factors of it."""
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc ln log exp sqrt gcd lcm min max mod arcsin arccos arctan sinh cosh".split()
)
OTHER_SENSE = FUNCTIONS | frozenset(
    "and or to not no plus minus negative times over than then between least most less more under half if divided pi"
    " neither root squared cubed twice factorial".split()
)
"""Words beside a number that make another one of it."""


class Quantity(NamedTuple):
    """A number, and what it counts."""

    value: Fraction
    percent: bool
    unit: frozenset[str]
    """Words behind the number."""


def quantity_of(spelt: str) -> Quantity | None:
    """Return the number that a spelt answer is, with nothing but words around it; None for any other text."""
    found = NUMBER.fullmatch(spelt)
    value = _value(found) if found else None
    if found is None or value is None:
        return None
    words = (found["after"] or "").casefold().split()
    apart = spelt[: found.start("after")].endswith(" ")
    if not all(is_unit(word, apart=apart or place > 0) for place, word in enumerate(words)):
        return None
    if OTHER_SENSE & {*found["before"].casefold().split()}:
        return None
    while words and words[0] in SCALES:
        value *= SCALES[words.pop(0)]
    return Quantity(-value if found["sign"] == "-" else value, bool(found["percent"]), frozenset(words))


def is_unit(word: str, *, apart: bool) -> bool:
    """Whether letters behind a number are what it counts; `apart` where a space comes before them."""
    plain = re.sub(r"\^\{?\d\}?", "", word)
    if plain in SHORT:
        return apart or len(plain) > 1
    letters = re.sub("['/-]", "", plain)
    return (
        letters.isalpha()
        and len(letters) > (1 if apart else 2)
        and bool({*"aeiouy"} & {*letters})
        and word not in OTHER_SENSE
    )


def _value(found: re.Match[str]) -> Fraction | None:
    if found["ten"]:
        return _scaled(Fraction(1), found["ten"])
    if found["plain"]:
        return _scaled(_fraction(found["plain"]), found["exponent"] or found["power"] or "0")
    above, below = _fraction(found["above"] or found["over"]), _fraction(found["below"] or found["under"])
    return Fraction(found["whole"] or 0) + above / below if below else None


def _fraction(plain: str) -> Fraction:
    return Fraction(plain.replace(",", "").rstrip("."))


def _scaled(value: Fraction, power: str) -> Fraction | None:
    return value * Fraction(10) ** int(power) if abs(int(power)) <= GREATEST_POWER else None


def same_quantity(said: Quantity, wanted: Quantity) -> bool | None:
    """Whether two quantities are the same; None for unequal numbers so close that one may be the other, rounded.

    A percent sign may be missing, and so may a unit: 10 % is .1 and 10. Units that share no word differ.
    """
    if said.unit and wanted.unit and not said.unit & wanted.unit:
        return False
    hundred = 100 if wanted.percent else Fraction(1, 100)
    if said.value == wanted.value or (said.percent != wanted.percent and said.value * hundred == wanted.value):
        return True
    near = abs(said.value - wanted.value) * 100_000 <= abs(wanted.value)
    return None if near and {said.value.denominator, wanted.value.denominator} != {1} else False
