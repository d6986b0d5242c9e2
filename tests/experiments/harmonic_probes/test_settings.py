from pathlib import Path

import pytest

from toolkit.experiments.harmonic_probes import CentreSteering, HarmonicProbesConfig
from toolkit.settings.parsing import parse


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"labels": ("mood",)}, "no label is called 'mood': choose from next_is_hesitation, tone"),
        ({"labels": ("tone", "tone")}, "labels tone tone: give each once"),
        ({"layers": (2, 2)}, "layers 2 2: give each once"),
        ({"layers": (1, -1)}, "layer -1: give a layer, from 0 on"),
        ({"layers": (1, 2), "layer": 3}, "layer 3: is none of --layers 1 2"),
        ({"exponent": 0.0}, "exponent 0.0: must be above 0"),
        ({"draws": 0}, "draws 0: must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        HarmonicProbesConfig(**asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"toward": "behaviour"}, "toward 'behaviour': choose from next_is_hesitation, tone"),
        ({"strengths": (0.1, 0.2)}, r"strengths \(0.1, 0.2\): a slope needs one below 0 and one above"),
        ({"strengths": (-0.1, 0.0, 0.1)}, "strength 0.0: give finite numbers other than 0"),
        ({"strengths": ()}, "a slope needs one below 0 and one above"),
        ({"strengths": (float("nan"), 0.1)}, "strength nan: give finite numbers"),
        ({"test": 1}, "test 1: give at least 2 questions, or 0 to leave steering out"),
        ({"crosscoder": Path("runs/x")}, "crosscoder runs/x: name the --latent of it that steers"),
    ],
)
def test_steering_that_cannot_be_done_is_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        CentreSteering(**asked)


def test_no_questions_leave_steering_out():
    assert CentreSteering().asked
    assert not CentreSteering(development=0).asked
    assert not CentreSteering(test=0).asked


def test_flags_stand_without_the_names_of_parts():
    found = parse(
        HarmonicProbesConfig, ["--toward", "tone", "--layers", "1", "2", "--latent", "5", "--spans", "a.jsonl"]
    )
    assert (found.steering.toward, found.layers, found.steering.latent) == ("tone", (1, 2), 5)
    assert found.spans == Path("a.jsonl")
