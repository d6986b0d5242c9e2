"""The labels that rules give to latents whose meaning is known, and how they apply their own explanations."""

from collections.abc import Callable

import pytest

from toolkit.annotation.evidence import Evidence, Passage
from toolkit.annotation.labels import Unscored
from toolkit.annotation.predicates import Predicate, parse_predicate
from toolkit.annotation.rules import RulesAnnotator

SENTENCES = (
    "Wait , is that right ? 5 and 7 make 12 . Then 4 plus 3 is 7 .",
    "First 3 plus 4 is 7 . But a minus comes now . So 2 .",
    "Therefore , the answer is 9 . \n It fits .",
    "the dog sees el perro and the Tür , so he runs .",
    "Let me check : 12 minus 7 is 5 . Next 1 plus 1 is 2 .",
)
RULES = RulesAnnotator(background=dict.fromkeys(("self-reflection", "deductive", "contrastive", "verification"), 0.1))


def passages(fires: Callable[[list[str], int], bool]) -> tuple[Passage, ...]:
    """Passages of the sentences, with code 1 where `fires` says so of the tokens and a place in them."""
    found = []
    for document, sentence in enumerate(SENTENCES * 3):
        tokens = [" " + word if word != "\n" else word for word in sentence.split(" ")]
        codes = tuple(float(fires(tokens, place)) for place in range(len(tokens)))
        if any(codes):
            found.append(Passage(document=document, tokens=tuple(tokens), codes=codes))
    return tuple(found)


def evidence(fires: Callable[[list[str], int], bool], **more) -> Evidence:
    seen = passages(fires)
    return Evidence(latent=3, explaining=seen, firing=seen, near=(), far=(), largest=1.0, frequency=0.1, **more)


@pytest.mark.parametrize(
    ("category", "fires"),
    [
        ("self-reflection", lambda tokens, i: "Wait" in tokens[0] and i < 6),
        ("contrastive", lambda tokens, i: " But" in tokens[max(0, i - 1) : i + 2]),
        ("deductive", lambda tokens, i: tokens[0] == " Therefore" and i > 1),
        ("verification", lambda tokens, i: tokens[0] == " Let" and i in (4, 5)),
        ("domain", lambda tokens, i: tokens[i].strip().isdigit()),
        ("formatting", lambda tokens, i: tokens[i] in (" .", "\n")),
        ("language", lambda tokens, i: tokens[i] in (" el", " Tür")),
        ("uninterpretable", lambda tokens, i: i % 3 == 0),
    ],
)
def test_a_latent_gets_the_category_of_what_it_fires_on(category, fires):
    assert RULES.explain(evidence(fires)).category == category


def test_the_explanation_is_a_predicate_that_tells_where_the_latent_fires():
    label = RULES.explain(evidence(lambda tokens, i: i > 0 and tokens[i - 1] == " plus"))
    predicate = parse_predicate(label.explanation)
    assert predicate is not None
    assert predicate.after == {" plus"}
    for passage in passages(lambda tokens, i: i > 0 and tokens[i - 1] == " plus"):
        assert predicate.holds(passage.tokens) == [code > 0 for code in passage.codes]


def test_a_category_that_all_text_is_full_of_is_not_a_latents_own():
    common = RulesAnnotator(background={"self-reflection": 0.6})
    fires = lambda tokens, i: "Wait" in tokens[0] and i < 6  # noqa: E731
    assert common.explain(evidence(fires)).category != "self-reflection"


def test_a_lexicon_that_knows_better_makes_the_category_stand_out():
    common = RulesAnnotator(background={"self-reflection": 0.6})
    fires = lambda tokens, i: "Wait" in tokens[0] and i < 6  # noqa: E731
    assert common.explain(evidence(fires, lifts={"self-reflection": 9.0})).category == "self-reflection"


def test_labelled_spans_go_before_all_rules():
    knowing = RulesAnnotator(background={}, spans={3: "alternative"})
    assert knowing.explain(evidence(lambda tokens, i: tokens[i] == " .")).category == "alternative"


def test_a_region_that_holds_most_of_the_activation_is_named():
    label = RULES.explain(evidence(lambda tokens, i: tokens[i] == " .", regions={"thinking": 0.9, "answer": 0.1}))
    assert label.explanation == 'fires on " ."; 90% of its activation is in the thinking'


def test_detection_and_fuzzing_apply_the_explanation_and_never_look_at_codes():
    explanation = str(Predicate(on=frozenset({" Wait"})))
    asked = [
        Passage(document=0, tokens=(" Wait", " no"), codes=(0.0, 0.0)),
        Passage(document=1, tokens=(" So", " no"), codes=(5.0, 5.0)),
    ]
    assert RULES.detect(explanation, asked) == [True, False]
    marked = [(asked[0], frozenset({0})), (asked[0], frozenset({1})), (asked[1], frozenset({0, 1}))]
    assert RULES.fuzz(explanation, marked) == [True, False, False]


def test_explanations_in_other_words_are_unscored():
    assert isinstance(RULES.detect("words of doubt", passages(lambda *_: True)), Unscored)
    assert isinstance(RULES.fuzz("words of doubt", []), Unscored)
