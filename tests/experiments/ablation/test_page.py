"""The experiment's numbers on the page and in the JSON are the study's."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import pytest
import torch
from datasets import Dataset

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.ablation.measure import ARMS, AblationStudy, measure
from toolkit.experiments.ablation.page import ablation_results, page
from toolkit.experiments.run import Run
from toolkit.harvest.documents import Corpus
from toolkit.interventions.ablation import OTHER, ablation_effects
from toolkit.latents.choices import Method
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig, TextSettings
from toolkit.statistics.estimates import Estimate, mean

WORDS = {"pause": ["First", "next"], "turn": ["is", "The"]}


@pytest.fixture(scope="module")
def run(pair: ModelPair, text_file: Path) -> Run:
    """A random crosscoder of a tiny pair."""
    crosscoder = Crosscoder(
        CrosscoderConfig(d_model=16, models=("base", "distilled"), layers=pair.layers, n_latents=40, sparsity="l1", k=1)
    )
    generator = torch.Generator().manual_seed(0)
    for name in ("W_enc", "W_dec"):
        getattr(crosscoder, name).copy_(torch.randn(crosscoder.W_enc.shape, generator=generator))
    texts = [json.loads(line)["text"] for line in text_file.read_text().splitlines()[:60]]
    documents = Dataset.from_dict({"text": texts}).to_iterable_dataset()
    corpus = Corpus(train=documents, held_out=documents, origin={})
    settings = RunConfig(text=TextSettings(row_length=128, forward_tokens=1024))
    return Run(settings=settings, open_models=lambda: pair, crosscoder=crosscoder, open_text=lambda: corpus)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> AblationConfig:
    lexicon = tmp_path_factory.mktemp("lexicon") / "words.json"
    lexicon.write_text(json.dumps(WORDS))
    return AblationConfig(
        lexicon=lexicon,
        tokens=3072,
        targets=20,
        shares=(0.1, 0.3),
        reference=0.3,
        undecided=(0.0, 1.0),
        control_draws=1,
    )


@pytest.fixture(scope="module")
def study(config: AblationConfig, run: Run) -> AblationStudy:
    return measure(config, run)


def test_the_papers_protocol_is_one_option():
    ours, paper = AblationConfig(), AblationConfig(paper=True, targets=7)
    assert (ours.select, ours.place, ours.undecided) == ("lift", "predicting", (0.05, 0.9))
    assert ours.method(2) == Method(positions="predict", spliced=False, layer=2)
    assert (paper.select, paper.place, paper.undecided) == ("quantile", "token", (0.0, 1.0))
    assert paper.method(None) == Method(positions="prefix", spliced=True)
    assert (paper.targets, paper.min_nrn, paper.shares) == (7, 0.5, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paper": True, "positions": "all"}, "--paper sets --positions to prefix, and all is given"),
        ({"paper": True, "undecided": (0.1, 0.5)}, r"--paper sets --undecided to \(0.0, 1.0\), and \(0.1, 0.5\)"),
        ({"tokens": 0}, "tokens 0: must be at least 1"),
        ({"targets": 1}, "targets 1: must be at least 2"),
        ({"reference": 0.3}, "reference share 0.3 is not among the shares"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        AblationConfig(**settings)


def test_fewer_positions_than_asked_for_are_said(config, run, study):
    assert "asked for" not in page(config, run, study).tables[0].note
    more = replace(config, targets=10_000)
    study = measure(more, run)
    found = study.categories[0].targets.found
    note = page(more, run, study).tables[0].note
    assert f" pause: {found} positions found of the 10000 asked for" in note


def test_the_study_reads_as_many_held_out_tokens_as_asked_for(config, run, study):
    assert 1000 < study.counts.tokens < 3072 // 2 + 128  # half of them choose
    less = measure(replace(config, tokens=2048), run)
    assert less.counts.tokens < study.counts.tokens


def test_results_are_means_over_the_targets(config, study):
    results = ablation_results(study, config)
    assert list(results["ablation"]) == list(WORDS)
    for each in study.categories:
        written = results["ablation"][each.category.name]
        for name, arm, model in (
            ("distilled", "chosen", "distilled"),
            ("base", "chosen", "base"),
            ("control_distilled", "matched", "distilled"),
            ("random_distilled", "random", "distilled"),
        ):
            assert written[name] == written["intervals"][name].value
            assert written[name] == pytest.approx(float(each["30 %", arm][model].logit.mean()), rel=1e-5)
        assert written["n"] == len(each.targets.target_ids) == 20
        assert written["n_documents"] == len(set(each.targets.documents.tolist())) < 20
        assert written["found"] == each.targets.found >= 20
        assert written["latents"] == each.latents["30 %"]
        chosen, matched = (each["30 %", arm]["distilled"].logit for arm in ("chosen", "matched"))
        expected = mean(chosen - matched, each.targets.documents)
        assert written["distilled_minus_control"] == expected
        assert written["by_share"].keys() == {"10 %", "30 %"}
        for share in ("10 %", "30 %"):
            for arm in ARMS:
                at = written["by_share"][share][arm]
                assert at["base"].value == pytest.approx(float(each[share, arm]["base"].logit.mean()), rel=1e-5)
                assert at["base"].low is None or at["base"].low <= at["base"].value <= at["base"].high
    for (edited, on), effects in study.off_target.items():
        documents = {each.category.name: each.targets.documents for each in study.categories}.get(on)
        for model in ("base", "distilled"):
            groups = study.other.documents if documents is None else documents
            expected = mean(effects[model].logit, groups)
            assert results["off_target"][f"{edited} on {on}"][model] == expected


def test_the_page_shows_them(config, run, study):
    findings = page(config, run, study)
    main, measures, shares, matrix, specific, words = findings.tables
    for headline, row, more, each in zip(findings.headline, main.rows, measures.rows, study.categories, strict=True):
        cells = dict(zip(main.columns, row, strict=True)) | dict(zip(measures.columns, more, strict=True))
        distilled = each["30 %", "chosen"]["distilled"].logit
        assert headline.value.value == cells["distilled"].value == pytest.approx(float(distilled.mean()), rel=1e-5)
        assert headline.n == cells["n"] == 20
        assert headline.unit == f"positions of {cells['documents']} documents"
        assert cells["latents"] == len(each.latents["30 %"])
        assert cells["rank, chosen"].value == pytest.approx(
            float(each["30 %", "chosen"]["distilled"].rank.mean()), rel=1e-5
        )
        assert isinstance(cells["chosen − matched"], Estimate)
    assert len(shares.rows) == 4
    assert [row[0] for row in matrix.rows] == list(WORDS)
    assert [column.removeprefix("on ") for column in matrix.columns[1:]] == [*WORDS, OTHER]
    for (edited, on), effects in study.off_target.items():
        cell = matrix.rows[list(WORDS).index(edited)][1 + [*WORDS, OTHER].index(on)]
        assert cell.value == pytest.approx(float(effects["distilled"].logit.mean()), rel=1e-5, abs=1e-7)
    assert len(specific.columns) == 8
    assert "' First'" in words.rows[0][1]
    assert {chart.name for chart in findings.charts} == {
        "histogram_pause", "histogram_turn", "by_share_pause", "by_share_turn", "off_target",
    }  # fmt: skip
    assert all(isinstance(chart.figure, matplotlib.figure.Figure) for chart in findings.charts)
    assert findings.facts["words"] == "all occurrences"


def test_one_category_and_two_targets_have_a_page_too(config, run, tmp_path):
    lexicon = tmp_path / "one.json"
    lexicon.write_text(json.dumps({"turn": WORDS["turn"]}))
    least = replace(config, lexicon=lexicon, targets=2, tokens=2048)
    findings = page(least, run, measure(least, run))
    assert [row[0] for row in findings.tables[0].rows] == ["turn"]
    assert findings.headline[0].n == 2


def test_the_papers_baseline_is_the_reconstruction(config, run):
    paper = replace(config, paper=True, tokens=2048, targets=10)
    study = measure(paper, run)
    (each, _) = study.categories
    firing = study.counts.counts["token"][0]
    assert each.latents["30 %"] == sorted(each.latents["30 %"], key=lambda k: -firing[k])
    arm = torch.tensor(each.latents["30 %"])
    expected = ablation_effects(run.models, run.crosscoder, each.targets, [arm], paper.method(None))
    torch.testing.assert_close(each["30 %", "chosen"].values, expected.values[:, 0], rtol=1e-3, atol=1e-5)


def test_the_site_of_a_crosscoder_of_several_layers(config, run, organism_folders):
    pair = ModelPair.from_pretrained(
        base=organism_folders[0], distilled=organism_folders[1], layers=[1, 2], where="cpu"
    )
    shape = replace(run.crosscoder.config, layers=(1, 2))
    crosscoder = Crosscoder(shape)
    generator = torch.Generator().manual_seed(1)
    for name in ("W_enc", "W_dec"):
        getattr(crosscoder, name).copy_(torch.randn(crosscoder.W_enc.shape, generator=generator))
    several = replace(run, open_models=lambda: pair, crosscoder=crosscoder)
    config = replace(config, tokens=2048, targets=5)
    first, second = (measure(config, replace(several, named_layer=layer)) for layer in (1, 2))
    assert first.categories[0].latents == second.categories[0].latents
    chosen = [study.categories[0]["30 %", "chosen"].values for study in (first, second)]
    assert (chosen[0] - chosen[1]).abs().min() > 0
