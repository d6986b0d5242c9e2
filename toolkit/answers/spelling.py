"""Writes answers in one spelling, so that two that differ in LaTeX's layout alone are the same text."""

import re

from toolkit.answers.final_answers import bare

SIGNS = str.maketrans(
    dict.fromkeys("\u2212\u2010\u2011\u2012\u2013", "-")
    | dict.fromkeys("\u00a0\u2009\u202f~", " ")
    | {"π": r"\pi ", "∞": r"\infty ", "×": r"\times ", "∪": r"\cup ", "≤": r"\le ", "≥": r"\ge ", "°": r"^\circ "}
)
REWRITES = tuple(
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r"(?<=\d)(?:\{,\}|,\\!|\\[,;:! ]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))", ""),  # between thousands
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(?=[\d{])", r"\\frac{\1}"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\sqrt\s*(\d|[a-zA-Z](?![a-zA-Z]))", r"\\sqrt{\1}"),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![a-zA-Z])\.?", ""),
        (r"\\(?:quad|qquad)(?![a-zA-Z])|(?<!\\)\\[,;: ]", " "),
        (r"(?<!\\)\\!", ""),
        (
            r"(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degrees?(?![a-zA-Z]))"
            r"\s*(?:\\(?:text|mathrm)\s*\{\s*[CF]\s*\}|[CF](?![a-zA-Z]))?",
            "",
        ),
        (r"\\([$%#&])", r"\1"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\(le|ge|ne)q(?![a-zA-Z])", r"\\\1"),
        (r"\\(?:cdot|ast)(?![a-zA-Z])", r"\\times"),
        (r"([\^_])\{(\w)\}", r"\1\2"),
    )
)
TEXT = re.compile(r"\\(?:text(?:bf|rm|it|sf|tt)?|math(?:rm|bf|it|sf)|mbox|operatorname)\s*\{([^{}]*)\}")


def spelt(answer: str) -> str:
    """Return an answer in one spelling of fractions, roots, signs, spaces and text; degrees lose their sign."""
    answer = REWRITES[0][0].sub("", bare(answer)).translate(SIGNS)
    for pattern, spelling in REWRITES:
        answer = pattern.sub(spelling, answer)
    before = None
    while before != answer:
        before, answer = answer, TEXT.sub(r" \1 ", answer)
    answer = re.sub(r"\s+(?=\^)", "", " ".join(answer.split()))
    return bare(re.sub(r"^(?i:negative|minus) (?=[\d\\])", "-", answer))


def letters_of(answer: str) -> str:
    """Return a spelt answer as it is compared letter by letter: without spaces, and words without capitals."""
    together = "".join(answer.split())
    return together.casefold() if len(together) > 1 and together.isalpha() else together
