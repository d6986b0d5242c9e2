"""Answers are steered toward a class centre, beside the best of several random directions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.answers.answering import Answerer, answer_each
from toolkit.experiments.harmonic_probes import CentreSteering, HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.centres import ClassPoints
from toolkit.experiments.harmonic_probes.steering import (
    Asked,
    SteeredToCentre,
    asked_steering,
    own_streams,
    steered_to_centre,
)
from toolkit.experiments.harmonic_probes.ways import CENTRE, LOGISTIC, MEANS, POINT, RANDOM
from toolkit.interventions.edits import shift

STRENGTHS = (-2.0, 2.0)


def settings(folder: Path, **steering) -> HarmonicProbesConfig:
    """Settings with a file of nine questions."""
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": f"w{i} w{2 * i}?", "answer": str(i)}) + "\n" for i in range(9)))
    asked = {"questions": path, "development": 3, "test": 6, "random": 2, "strengths": STRENGTHS, "new_tokens": 12}
    return HarmonicProbesConfig(steering=CentreSteering(**asked | steering))


@pytest.fixture(scope="module")
def points() -> ClassPoints:
    chance = torch.Generator().manual_seed(0)
    kinds = [torch.randn(2, 2, 32, generator=chance, dtype=torch.float64) for _ in range(3)]
    return ClassPoints(
        classes=("another word", "hesitation"),
        **dict(zip(("harmonic", "means", "logistic"), kinds, strict=True)),
        spread=torch.ones(2, dtype=torch.float64),
    )


@pytest.fixture(scope="module")
def asked(tiny_pair, tmp_path_factory) -> Asked:
    found = asked_steering(settings(tmp_path_factory.mktemp("asked")), tiny_pair, 2)
    assert found is not None
    return replace(found, latent={"latent 3": torch.eye(32)[3]})


@pytest.fixture(scope="module")
def steered(asked, points, tmp_path_factory) -> SteeredToCentre:
    return steered_to_centre(settings(tmp_path_factory.mktemp("steered")), asked, points)


def test_every_way_answers_the_test_questions_in_every_draw(steered):
    assert list(steered.ways) == [CENTRE, POINT, LOGISTIC, MEANS, "latent 3", RANDOM]
    assert [way.slope.shape for way in steered.ways.values()] == [(2, 6)] * 4 + [(1, 6)] * 2
    assert (steered.toward, steered.away) == ("hesitation", "another word")
    assert len(steered.random) == 2
    assert steered.unsteered.length.shape == (1, 6)


def test_a_way_is_what_its_shift_gives_alone(steered, asked, points):
    unit = torch.nn.functional.normalize((points.harmonic[1, 1] - points.harmonic[1, 0]).float(), dim=0)
    arms = [Answerer(asked.model, shift(2, at * steered.norm * unit)) for at in (0.0, *STRENGTHS)]
    alone = answer_each(arms, asked.test, asked.writing)
    assert steered.unsteered.texts == alone.texts[:1]
    assert steered.ways[CENTRE].answers[1].texts == alone.texts[1:]


def test_the_random_direction_is_turned_to_lengthen_the_development_answers(steered, points):
    means = {way: float(slope.mean()) for way, slope in steered.random.items()}
    best = max(means, key=lambda way: abs(means[way]))
    assert set(means) == {(RANDOM, 0), (RANDOM, 1)}
    drawn = torch.nn.functional.normalize(torch.randn(2, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = drawn[best[1]] * (1.0 if means[best] > 0 else -1.0)
    step = points.harmonic[:, 1] - points.harmonic[:, 0]
    wanted = float(torch.cosine_similarity(turned.double()[None], step, dim=1).mean())
    assert steered.ways[RANDOM].cosine == pytest.approx(wanted)


def test_the_unit_of_strengths_is_the_norm_of_the_models_own_answers(steered, asked):
    developing = replace(asked.writing, seed=asked.writing.seed + 1)
    streams = own_streams(asked.model, 2, asked.development, developing)
    assert steered.norm == pytest.approx(float(streams.norm(dim=1).mean()))
    written = answer_each([Answerer(asked.model)], asked.development, developing)
    assert len(streams) >= sum(len(text.split()) for text in written.texts[0])


def test_cosines_are_with_the_step_between_centres(steered, points):
    step, other = (each[:, 1] - each[:, 0] for each in (points.harmonic, points.logistic))
    wanted = float(torch.cosine_similarity(step, other, dim=1).mean())
    assert steered.ways[LOGISTIC].cosine == pytest.approx(wanted)
    assert steered.ways[CENTRE].cosine == pytest.approx(1.0)
    assert steered.ways[POINT].cosine != steered.ways[POINT].cosine  # a move to a point has no one direction


@pytest.mark.parametrize(
    ("steering", "said"),
    [
        ({"model": "teacher"}, "--model teacher: no model is called that: choose from base, distilled"),
        ({"test": 2, "development": 8}, "leaves 1 to test on, where two are needed"),
        ({"latent": 5}, "--latent 5: give --crosscoder the folder of the crosscoder that it is of"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_read(tiny_pair, tmp_path, steering, said):
    with pytest.raises(ValueError, match=said):
        asked_steering(settings(tmp_path, **steering), tiny_pair, 2)


def test_a_latent_of_a_crosscoder_steers_along_its_row(tiny_pair, random_crosscoder, tmp_path):
    crosscoder = random_crosscoder(scale=(1.0, 1.0), sources=tiny_pair.origins)
    crosscoder.save_pretrained(tmp_path / "crosscoder")
    found = asked_steering(settings(tmp_path, latent=4, crosscoder=tmp_path / "crosscoder"), tiny_pair, 2)
    row = torch.nn.functional.normalize(crosscoder.W_dec[4, 1], dim=0)
    torch.testing.assert_close(found.latent["latent 4"], row)
    with pytest.raises(ValueError, match="has no stream of 'distilled' at layer 1"):
        asked_steering(settings(tmp_path, latent=4, crosscoder=tmp_path / "crosscoder"), tiny_pair, 1)


def test_no_questions_ask_for_no_steering(tiny_pair, tmp_path):
    assert asked_steering(settings(tmp_path, test=0), tiny_pair, 2) is None
