"""The grammar of arms: what can be written, and what is said of what cannot."""

import pytest

from toolkit.experiments.reasoning_evaluation.arms import FORMS, MODELS, Arm, ArmEdit, parse_arm, parse_arms


@pytest.mark.parametrize("model", MODELS)
def test_a_model_alone_is_an_arm(model: str):
    assert parse_arm(model) == Arm(name=model, model=model)


def test_edits_are_added_in_the_order_in_which_they_are_written():
    arm = parse_arm("distilled + steer 623,7 -0.1 + ablate 3 + set 5 2.5 + random 1 .2")
    assert arm.edits == (
        ArmEdit("steer", (623, 7), -0.1),
        ArmEdit("ablate", (3,)),
        ArmEdit("set", (5,), 2.5),
        ArmEdit("random", (1,), 0.2),
    )


def test_an_adapter_does_without_latents_and_is_steered_too():
    arm = parse_arm("adapter without 3/17 2/5 + steer 623 0.1")
    assert (arm.model, arm.without) == ("adapter", ("3/17", "2/5"))
    assert arm.edits == (ArmEdit("steer", (623,), 0.1),)


def test_an_arm_can_be_asked_plainly_and_is_steered_too():
    arm = parse_arm("base plainly + steer 623 0.1")
    assert (arm.model, arm.plainly, arm.edits) == ("base", True, (ArmEdit("steer", (623,), 0.1),))
    assert parse_arm("adapter plainly without 3/17") == Arm(
        name="adapter plainly without 3/17", model="adapter", plainly=True, without=("3/17",)
    )


@pytest.mark.parametrize("form", FORMS.values())
def test_every_form_that_an_error_shows_can_be_written(form: str):
    assert parse_arm(f"distilled + {form}").name == f"distilled + {form}"


def test_spaces_do_not_make_another_arm():
    assert parse_arm("  distilled+ablate   3 ").name == "distilled + ablate 3"
    with pytest.raises(ValueError, match=r"arm 'base \+ ablate 3' is given twice: give each arm once"):
        parse_arms(["base + ablate 3", "base+ablate 3"])


REFUSED = {
    "": "nothing stands where a model should: begin with base, distilled, control, hybrid or adapter",
    "teacher": "'teacher' stands where a model should: begin with base, distilled",
    "+ steer 623 0.1": "nothing stands where a model should",
    "distilled steer 623 0.1": "'steer' follows 'distilled': put + before each edit, as in 'distilled + steer",
    "distilled + stear 623 0.1": "'stear' stands where an edit should: after + write steer, ablate, set or random",
    "distilled +": "nothing stands where an edit should: after + write steer",
    "distilled + steer 623": "'steer' has one number after it, and takes two: write it as in 'steer 623 0.1'",
    "distilled + ablate": "'ablate' has no number after it, and takes one: write it as in 'ablate 623'",
    "distilled + steer six 0.1": "'six' is no number from 0 up, or several joined by commas",
    "distilled + ablate -1": "'-1' is no number from 0 up",
    "distilled + steer 623 far": "'far' is no finite number: write it as in 'steer 623 0.1'",
    "distilled + set 623 nan": "'nan' is no finite number: write it as in 'set 623 2.0'",
    "distilled + random 1,2 0.1": "'1,2' names several random directions: give one number",
    "control + ablate 623": "'ablate' needs codes, which are read of base or distilled alone: steer 'control' instead",
    "adapter + set 623 1": "'set' needs codes, which are read of base or distilled alone",
    "distilled without 3/17": "'distilled' has no latents to do without: write 'adapter without 3/17'",
    "adapter without": "'without' names no latent: give layer/index, as in 'adapter without 3/17'",
    "adapter without 3.17": "'3.17' is no latent of an adapter: give layer/index, as in 'adapter without 3/17'",
}


@pytest.mark.parametrize("written", REFUSED)
def test_what_cannot_be_written_is_told_with_the_word_and_the_remedy(written: str):
    with pytest.raises(ValueError, match=r"^arm ") as told:
        parse_arm(written)
    assert REFUSED[written] in str(told.value)
    assert "\n" not in str(told.value)
