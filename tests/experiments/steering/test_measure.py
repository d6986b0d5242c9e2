import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from toolkit.answers.questions import BOXING, instruction_to
from toolkit.experiments.steering import measure as steering
from toolkit.experiments.steering.measure import SteeringConfig, measure
from toolkit.experiments.steering.page import page
from toolkit.experiments.steering.study import RANDOM
from toolkit.latents.categories import categories, load_lexicon


def ask(path: Path, n: int, **changes: Any) -> SteeringConfig:
    """Settings for a file of `n` questions, with little of everything."""
    path.write_text("".join(json.dumps({"question": f"{i}+{i}?", "answer": str(2 * i)}) + "\n" for i in range(n)))
    asked: dict[str, Any] = {"questions": path, "development": 2, "test": 5, "tokens": 500, "new_tokens": 4}
    return SteeringConfig(**asked | changes)


def test_other_models_than_the_embedded_pair_are_asked_for_a_box(run, tmp_path):
    assert steering._writing(ask(tmp_path / "q", 4), run, []).instruction == BOXING
    assert instruction_to(embedded=True) == ""


@pytest.mark.parametrize("name", ["development", "test"])
def test_one_question_makes_no_interval(name):
    with pytest.raises(ValueError, match=f"{name} 1: must be at least 2"):
        SteeringConfig(**{name: 1})


def test_a_dead_latent_and_an_unknown_category_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"5 fired on none of \d+ held-out tokens, dead or rare"):
        measure(ask(tmp_path / "q", 4, latents=(1, 5)), run)
    with pytest.raises(ValueError, match=r"no category is called 'doubt': choose from self-reflection, "):
        measure(ask(tmp_path / "q", 4, category="doubt"), run)


def test_a_model_that_the_run_lacks_is_refused_by_the_names_it_has(run, tmp_path):
    with pytest.raises(ValueError, match="--model teacher: no model is called that: choose from base, distilled"):
        measure(ask(tmp_path / "q", 4, model="teacher"), run)


def test_a_category_without_candidates_is_left_out_and_the_others_go_on(run, tmp_path):
    lexicon = tmp_path / "words.json"
    lexicon.write_text('{"sums": ["is", "first", "next", "plus"], "odd": ["antidisestablishment"]}')
    config = ask(tmp_path / "q", 9, lexicon=lexicon, candidates=1, tokens=2000)
    found = measure(replace(config, aims={"odd": "longer", "sums": "longer"}), run)
    study = found.study
    assert list(study.groups) == list(found.besides) == ["sums"]
    assert "give other words" in study.left_out["odd"]
    assert page(config, run, found).tables[-1].rows == [["odd", study.left_out["odd"]]]
    with pytest.raises(ValueError, match=r"category 'odd': none of .* is a single token"):
        measure(replace(config, aims={"odd": "longer"}), run)


def test_strengths_are_in_order():
    assert SteeringConfig(strengths=(0.2, -0.1, 0.1)).settings().strengths == (-0.1, 0.1, 0.2)
    assert SteeringConfig(strengths=(0.2, -0.1, 0.1), suppress=True).settings().strengths == (-0.2, -0.1)


def test_controls_that_cannot_be_matched_are_left_out_with_the_reason(run, tmp_path):
    found = measure(ask(tmp_path / "q", 9, latents=(1,), candidates=11), run).study
    (why,) = found.left_out.values()
    assert "11 latents" in why
    assert list(found.groups["named latents"].controls) == [RANDOM]


def test_what_a_latent_does_besides_is_measured_on_the_held_out_text(run, tmp_path):
    lexicon = tmp_path / "words.json"
    lexicon.write_text('{"sums": ["is", "first", "next", "plus"]}')
    config = ask(tmp_path / "q", 9, lexicon=lexicon, candidates=1, tokens=2000, category="sums")
    found = measure(config, run)
    (latents,) = (each.latents for each in found.study.groups.values())
    beside = found.besides["sums"]
    assert beside.doubtful is None  # nobody knows the tone of answers of this pair
    labels, codes = [], []
    ids_of_words = torch.tensor(categories(run.models.tokenizer, load_lexicon(lexicon))[0].token_ids)
    for coded in run.coded(config.tokens):
        for row, chosen in enumerate(coded.selected):
            for position in chosen.nonzero()[:, 0].tolist():
                after = position + 1
                known = after < len(chosen) and bool(chosen[after])
                labels.append(known and bool(torch.isin(coded.batch.input_ids[row, after], ids_of_words)))
        codes.append(coded.codes[:, list(latents)].sum(dim=1))
    assert beside.before_words.value == pytest.approx(roc_auc_score(labels, torch.cat(codes).numpy()))
    norms = run.crosscoder.W_dec.abs().sum(dim=-1)[list(latents)]
    assert beside.nrn == pytest.approx(float((norms[:, 1] / norms.sum(dim=1)).mean()), rel=1e-5)
