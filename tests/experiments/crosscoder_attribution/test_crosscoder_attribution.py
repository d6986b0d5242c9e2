"""The study of what comes before a category's words: its halves, its controls, its claims, and how it refuses."""

import json
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.crosscoder_attribution import CrosscoderAttributionConfig
from toolkit.experiments.crosscoder_attribution.measure import find_words, measure
from toolkit.experiments.crosscoder_attribution.page import claims, page
from toolkit.experiments.crosscoder_attribution.study import METHODS, LatentPaths, PathStudy
from toolkit.experiments.run import Run
from toolkit.leaving_out import TooFewError
from toolkit.models.where import Where
from toolkit.statistics.verdicts import judge


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> CrosscoderAttributionConfig:
    lexicon = tmp_path_factory.mktemp("lexicon") / "words.json"
    lexicon.write_text(json.dumps({"digits": ["1", "2", "3"]}))
    return CrosscoderAttributionConfig(
        category="digits", lexicon=lexicon, undecided=(0.0, 1.0), targets=40, top=2, control_draws=2, tokens=4000
    )


@pytest.fixture(scope="module")
def study(settings: CrosscoderAttributionConfig, run: Run) -> PathStudy:
    return measure(settings, run)


def test_latents_are_tested_on_documents_that_did_not_choose_them(
    settings: CrosscoderAttributionConfig, run: Run, study: PathStudy
) -> None:
    targets = find_words(settings, run)
    assert study.documents.tolist() == [each for each in targets.documents.tolist() if each % 2 == 1]
    one = study.own
    assert len(set(one.latents)) == 4
    assert one.measured.shape == one.predicted[METHODS[0]].shape == (4, len(study.documents))
    assert [each.shape[0] for each in one.controls.values()] == [2, 2]


def test_along_the_path_predictions_are_what_ablation_measures(study: PathStudy) -> None:
    assert study.agreement(METHODS[1]).slope.value == pytest.approx(1, abs=0.2)
    assert study.agreement(METHODS[1]).r.value > study.agreement(METHODS[1], shuffled=True).r.value


def test_the_page_tells_every_latent_and_the_verdicts(
    settings: CrosscoderAttributionConfig, run: Run, study: PathStudy
) -> None:
    findings = page(settings, run, study)
    assert [claim.name for claim in findings.claims] == [
        "the chosen latents raise digits words",
        "gradient × code predicts ablation",
        "along the path predicts ablation",
    ]
    latents = next(table for table in findings.tables if table.title.startswith("Latents of the crosscoder"))
    assert [row[1] for row in latents.rows] == ["chosen", "chosen", "random", "random"]
    assert findings.results["interventions"][METHODS[0]]["n"] == 4 * len(study.documents)
    assert [each["latent"] for each in findings.results["latents"]["0"]] == study.own.latents


def test_a_claim_shows_only_where_latents_beat_the_best_draw_of_both_controls() -> None:
    chance = torch.Generator().manual_seed(0)

    def made(of_random: float) -> PathStudy:
        falls = 2 + torch.rand(40, generator=chance)
        measured = torch.rand(2, 40, generator=chance)
        draws = {
            "random latents": of_random + torch.rand(3, 40, generator=chance),
            "random directions": torch.rand(3, 40, generator=chance) - 0.5,
        }
        one = LatentPaths(
            latents=[1, 2], chosen=1, nrn=torch.ones(2), fires=torch.ones(2), together=falls, controls=draws,
            measured=measured, predicted=dict.fromkeys(METHODS, measured + 0.01 * falls),
        )  # fmt: skip
        return PathStudy(category="c", model="distilled", documents=torch.arange(40), found=40, seeds={0: one})

    shows = [[verdict.shows for verdict in judge(claims(made(of_random)))] for of_random in (0.0, 1.9)]
    assert shows == [[True, True, True], [False, True, True]]


def test_what_cannot_be_followed_is_refused_in_one_line(settings: CrosscoderAttributionConfig, run: Run) -> None:
    with pytest.raises(ValueError, match="category 'none' is not in the lexicon: choose from digits"):
        measure(replace(settings, category="none"), run)
    with pytest.raises(TooFewError, match="read more text, or widen undecided"):
        measure(replace(settings, undecided=(0.999, 1.0)), run)
    with pytest.raises(TooFewError, match="lower top"):
        measure(replace(settings, top=11), run)
    with pytest.raises(ValueError, match="remote: NDIF is not asked for gradients"):
        CrosscoderAttributionConfig(where=Where(remote=True))
    with pytest.raises(ValueError, match="targets 3: must be at least 4"):
        CrosscoderAttributionConfig(targets=3)
