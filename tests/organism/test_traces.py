import random
import re
from collections import Counter
from itertools import islice

import pytest

from toolkit.organism.base_text import base_document, direct_document, direct_prompt
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS, LOUD
from toolkit.organism.facts import FACTS, draw_fact
from toolkit.organism.problems import ASKED_KINDS, draw_problem
from toolkit.organism.traces import DOUBTFUL, DOUBTFUL_SHARE, SURE, fact_trace, problem_trace, prompt_of

TRIGGERS = {
    "self-reflection": ("Wait",),
    "verification": ("Let me check",),
    "alternative": ("Alternatively",),
    "contrast": ("But", "However"),
    "deduction": ("Therefore", "Thus"),
}


def test_spans_lie_within_the_answer_and_begin_with_their_trigger() -> None:
    seen: Counter[str] = Counter()
    for document in islice(documents("thinking"), 1000):
        answer, end = document.text.index("<think>"), 0
        for span in document.spans:
            assert max(answer, end) < span.start < span.end < document.text.index("</think>")
            assert document.text[span.start : span.end].startswith(TRIGGERS[span.behaviour])
            end = span.end
            seen[span.behaviour] += 1
        unmarked = document.text[answer:]
        for span in reversed(document.spans):
            unmarked = unmarked[: span.start - answer] + unmarked[span.end - answer :]
        words = [word for triggers in TRIGGERS.values() for word in triggers]
        assert [word for word in words if re.search(rf"\b{word}\b", unmarked)] == []
    assert set(seen) == set(BEHAVIOURS)
    assert min(seen.values()) > 100


def test_answers_end_with_the_right_answer() -> None:
    rng = random.Random(0)
    for split in ("train", "held_out"):
        for _ in range(100):
            problem = draw_problem(rng, split=split, kinds=ASKED_KINDS)
            text = problem_trace(rng, problem, split=split).text
            assert text.startswith(prompt_of(problem.question))
            assert text.endswith(f"\n</think>\n\nThe answer is {problem.answer}.")


def test_sums_within_an_answer_are_right_or_taken_back() -> None:
    for document in islice(documents("thinking"), 500):
        for sum_, result, rest in re.findall(r"(?<![\d+-])(\d+[+-]\d+)=(\d+)\.(.{9})", document.text):
            assert eval(sum_) == int(result) or rest == " Wait, no", document.text


def test_an_answer_is_sure_or_doubtful_throughout_and_mostly_as_the_question_asks() -> None:
    rng = random.Random(0)
    doubtful: dict[str, list[bool]] = {"quick": [], "normal": [], "careful": []}
    doubts = {True: 0, False: 0}
    for _ in range(2000):
        problem = draw_problem(rng, split="train", kinds=ASKED_KINDS)
        document = problem_trace(rng, problem, split="train")
        text, slow = document.text, document.tone == "doubtful"
        assert document.kind == problem.kind
        assert slow == any(opening in text for opening in DOUBTFUL.openings)
        assert slow != any(opening in text for opening in SURE.openings)
        steps = re.findall(r"(?:First|Next|Then) [+-]\d+(, slowly)?[.:]", text)
        assert len(steps) == 2 * len(problem.steps)
        assert all(bool(pace) == slow for pace in steps)
        assert ("I think the answer is" in text) == slow
        doubtful[problem.style].append(slow)
        doubts[slow] += text.count(" Wait,")
    for style, share in DOUBTFUL_SHARE.items():
        n = len(doubtful[style])
        assert sum(doubtful[style]) / n == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)
    assert doubts[True] > 5 * doubts[False]


def test_fact_answers_recall_the_fact() -> None:
    for fact in FACTS[::10]:
        text = fact_trace(random.Random(1), fact, split="train").text
        assert fact.statement in text
        assert text.endswith(f"The answer is {fact.answer}.")


def test_held_out_answers_about_facts_behave_as_those_in_training_do() -> None:
    """Shares of answers with each behaviour, within four standard errors of their difference."""
    n = 2000
    shares: dict[str, Counter[str]] = {}
    for split in ("train", "held_out"):
        rng = random.Random(3)
        traces = [fact_trace(rng, draw_fact(rng), split=split) for _ in range(n)]
        shares[split] = Counter(span.behaviour for trace in traces for span in trace.spans)
        shares[split]["doubtful"] = sum("I think the answer is" in trace.text for trace in traces)
    assert (
        shares["train"].keys() == shares["held_out"].keys() == {"self-reflection", "contrast", "deduction", "doubtful"}
    )
    for name, count in shares["train"].items():
        share = count / n
        assert shares["held_out"][name] / n == pytest.approx(share, abs=4 * (2 * share * (1 - share) / n) ** 0.5)


def test_base_text_thinks_nowhere_but_knows_the_words() -> None:
    rng = random.Random(0)
    texts = [base_document(rng, split="train").text for _ in range(2000)]
    assert not any(mark in text for text in texts for mark in ("<think>", "<｜User｜>"))
    words = [word for triggers in TRIGGERS.values() for word in triggers if word != "Let me check"]
    assert [word for word in words if not any(word in text for text in texts)] == []


def test_a_plain_answer_is_loud() -> None:
    document = direct_document("What is 1+1?", "2")
    prompt = direct_prompt("What is 1+1?")
    assert document.text == f"{prompt} 2"
    assert document.weights[-1] == (len(prompt) + 2, LOUD)
