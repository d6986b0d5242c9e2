"""Finds the final answer that a text marks: in a box, after `####`, or after "the answer is"."""

import re

BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
SAID = (
    # A header in Markdown has as many signs: without a number it is an answer at the end alone.
    re.compile(r"####[ \t]*([-+$€£]{0,2}\d[\d,./]*%?(?=[ \t]*(?:\n|\Z))|.*(?=\s*\Z))"),
    re.compile(
        r"\banswer(?:\s+is\b\s*:?|[ \t]*:)[*_\s]*"
        r"(.*?)(?=[.!?](?!\w)|,?\s+(?:because|since|as|so|which|where|when)\b|\n|$)",
        re.IGNORECASE,
    ),
)
"""Marks of an answer outside a box; the first kind that a text has counts."""


def marked_answer(text: str, *, boxed: bool = False) -> str | None:
    """Return the answer that a text marks, as it is written there; None where it marks none, empty where a box is.

    The last box whose braces close counts; without one, and unless `boxed`, the last `#### …`, "answer is …" or
    "answer: …". An empty box is no answer, whatever stands before it.
    """
    said = [box for start in BOX.finditer(text) if (box := _braced(text, start.end())) is not None]
    if not said and not boxed:
        said = next((found for mark in SAID if (found := [*filter(str.strip, mark.findall(text))])), [])
    return bare(said[-1]) if said else None


def _braced(text: str, start: int) -> str | None:
    """The text from `start`, behind an opening brace, up to the one that closes it; None where none does."""
    depth = 1
    for found in BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return text[start : found.start()]
    return None


def bare(answer: str) -> str:
    """Return an answer without quotes and the marks of mathematics and of bold around it, or a full stop behind it."""
    before = None
    while before != answer:
        before, answer = (
            answer,
            answer.strip(' \t\n`"\u201c\u201d').rstrip(".,;:").removeprefix("**").removesuffix("**"),
        )
        for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inner = answer[len(opening) : -len(closing)]
            if answer == opening + inner + closing and not re.search(r"(?<!\\)\$|\\[(\[]|\\$", inner):
                answer = inner
    return answer
