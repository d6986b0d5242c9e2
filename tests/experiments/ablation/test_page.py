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
from toolkit.experiments.ablation.claims import claims
from toolkit.experiments.ablation.measure import measure
from toolkit.experiments.ablation.page import page
from toolkit.experiments.ablation.results import ablation_results
from toolkit.experiments.ablation.study import ARMS, AblationStudy
from toolkit.experiments.run import Run
from toolkit.harvest.documents import Corpus
from toolkit.interventions.ablation import Arm, ReadTargets, ablation_effects
from toolkit.interventions.targets import OTHER
from toolkit.latents.choices import Method
from toolkit.models.pair import ModelPair
from toolkit.reports.findings import Findings, Table
from toolkit.settings.crosscoder_run import RunConfig, TextSettings
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, mean

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
        control_draws=2,
        least_lift=0.0,
        min_nrn=0.0,
    )


def replace_weights(crosscoder: Crosscoder, seed: int) -> Crosscoder:
    """Another random crosscoder of the same shape."""
    made, generator = Crosscoder(crosscoder.config), torch.Generator().manual_seed(seed)
    for name in ("W_enc", "W_dec"):
        getattr(made, name).copy_(torch.randn(made.W_enc.shape, generator=generator))
    return made


def table(findings: Findings, title: str) -> Table:
    (found,) = (each for each in findings.tables if each.title.startswith(title))
    return found


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
    assert "asked for" not in table(page(config, run, study), "Change of the word's logit,").note
    more = replace(config, targets=10_000)
    study = measure(more, run)
    found = study.words["pause"].found
    note = table(page(more, run, study), "Change of the word's logit,").note
    assert f" pause: {found} positions found of the 10000 asked for" in note


def test_the_study_reads_as_many_held_out_tokens_as_asked_for(config, run, study):
    assert 1000 < study.own.counts.tokens < 3072 // 2 + 128  # half of them choose
    less = measure(replace(config, tokens=2048), run)
    assert less.own.counts.tokens < study.own.counts.tokens


def test_results_are_means_over_the_targets(config, study):
    results = ablation_results(study, config)
    assert list(results["ablation"]) == list(WORDS)
    for name, each in study.own.categories.items():
        written = results["ablation"][name]
        for key, arm, model in (
            ("distilled", "chosen", "distilled"),
            ("base", "chosen", "base"),
            ("control_distilled", "matched", "distilled"),
            ("directions_distilled", "directions", "distilled"),
            ("random_distilled", "random", "distilled"),
        ):
            assert written[key] == written["intervals"][key].value
            assert written[key] == pytest.approx(float(each["30 %", arm][model].logit.mean()), rel=1e-4, abs=1e-6)
        assert written["n"] == len(each.targets.target_ids) == 20
        assert written["n_documents"] == len(set(each.targets.documents.tolist())) < 20
        assert written["found"] == each.targets.found >= 20
        assert written["latents"] == each.latents["30 %"]
        chosen, matched = (each["30 %", arm]["distilled"].logit for arm in ("chosen", "matched"))
        expected = mean(chosen - matched, each.targets.documents)
        assert written["distilled_minus_control"] == study.given(expected)
        assert written["by_share"].keys() == {"10 %", "30 %"}
        for share in ("10 %", "30 %"):
            assert written["by_share"][share]["chosen"].keys() == {"base", "distilled"}
            for arm in ARMS:
                at = written["by_share"][share][arm]["distilled"]
                expected_mean = float(each[share, arm]["distilled"].logit.mean())
                assert at.value == pytest.approx(expected_mean, rel=1e-4, abs=1e-6)
                assert at.low is None or at.low <= at.value <= at.high
        of_seeds = results["seeds"][each.category.name]
        assert list(of_seeds) == ["0"]
        assert of_seeds["0"]["distilled"] == pytest.approx(written["distilled"], rel=1e-5)
        assert of_seeds["0"]["best"].keys() == {"directions", "matched", "random"}
        probability = each["30 %", "chosen"]["base"].probability
        assert written["probability"]["base"].value == pytest.approx(float(probability.mean()), rel=1e-4)
        assert written["base_where_undecided"].value == pytest.approx(written["base"], rel=1e-4)  # all are, from 0 to 1
    for (edited, on), effects in study.own.off_target.items():
        for model in ("base", "distilled"):
            expected = mean(effects[model].logit, study.words[on].documents)
            assert results["off_target"][f"{edited} on {on}"][model] == study.given(expected)
    assert [each["claim"] for each in results["verdicts"]] == ["pause words fall", "turn words fall"]
    assert "null" not in results


def test_bases_effect_is_given_where_words_are_undecided_for_base(config, study):
    probability = study.own.categories["pause"]["30 %", "chosen"]["base"].probability
    middle = float(probability.median())
    written = ablation_results(study, replace(config, undecided=(0.0, middle)))["ablation"]["pause"]
    kept = probability <= middle
    logit = study.own.categories["pause"]["30 %", "chosen"]["base"].logit
    assert 0 < kept.sum() < len(kept)
    assert written["base_where_undecided"].value == pytest.approx(float(logit[kept].mean()), rel=1e-4)


def test_the_page_shows_them(config, run, study):
    findings = page(config, run, study)
    main, matrix = table(findings, "Change of the word's logit,"), table(findings, "Off target")
    for headline, row, (name, each) in zip(findings.headline, main.rows, study.own.categories.items(), strict=True):
        cells = dict(zip(main.columns, row, strict=True))
        distilled = each["30 %", "chosen"]["distilled"].logit
        assert headline.value.value == cells["distilled"].value == pytest.approx(float(distilled.mean()), rel=1e-5)
        assert headline.n == cells["n"] == 20
        assert headline.unit == f"positions of {cells['documents']} documents"
        assert headline.note.endswith("; does not show")
        assert cells["latents"] == len(each.latents["30 %"])
        assert cells["category"] == name
        assert isinstance(cells["directions"], Estimate)
    assert findings.claims == claims(study, "30 %")
    assert [row[-1] for row in table(findings, "What shows").rows] == ["no", "no"]
    margins = table(findings, "What a fall must exceed")
    assert len(margins.rows) == sum(len(claim.margins) for claim in findings.claims)
    assert len(table(findings, "By share").rows) == 4
    assert [row[0] for row in matrix.rows] == list(WORDS)
    assert [column.removeprefix("on ") for column in matrix.columns[1:]] == [*WORDS, OTHER]
    for (edited, on), effects in study.own.off_target.items():
        cell = matrix.rows[list(WORDS).index(edited)][1 + [*WORDS, OTHER].index(on)]
        assert cell.value == pytest.approx(float(effects["distilled"].logit.mean()), rel=1e-5, abs=1e-7)
    overlap = table(findings, "Latents that categories share")
    pause, turn = (set(study.own.categories[name].latents["30 %"]) for name in WORDS)
    assert [row[1:] for row in overlap.rows] == [[len(pause), len(pause & turn)], [len(pause & turn), len(turn)]]
    assert "' First'" in table(findings, "Words").rows[0][1]
    assert {chart.name for chart in findings.charts} == {
        "effects", "histogram_pause", "histogram_turn", "by_share_pause", "by_share_turn", "off_target",
    }  # fmt: skip
    assert all(isinstance(chart.figure, matplotlib.figure.Figure) for chart in findings.charts)
    assert findings.facts["words"] == "all occurrences"
    assert findings.facts["crosscoders"].startswith("seed 0 alone")


def test_a_control_that_cannot_be_matched_is_said_and_the_next_is_named(config, run, study):
    note = table(page(config, run, study), "What a fall must exceed").note
    unlike = [name for name, each in study.own.categories.items() if not each.matches["30 %"].alike]
    assert unlike
    assert f"{', '.join(unlike)}: no latents are alike in code and NRN" in note
    assert "random directions as long stand in its place" in note


def test_an_edit_that_takes_out_most_of_the_stream_is_said(config, run, study):
    before = [each.draws["30 %", "chosen"].values.clone() for each in study.own.categories.values()]

    def caution(removed: float) -> str:
        for each in study.own.categories.values():
            each.draws["30 %", "chosen"].values[4] = removed
        return page(config, run, study).facts.get("caution", "")

    assert caution(0.4) == ""
    assert "takes out more than 0.5 of the stream's norm (pause 0.900, turn 0.900)" in caution(0.9)
    for each, values in zip(study.own.categories.values(), before, strict=True):
        each.draws["30 %", "chosen"].values.copy_(values)


def test_several_crosscoders_and_a_null_pair_stand_on_the_page(config, run):
    other = replace_weights(run.crosscoder, seed=1)
    several = replace(run, folder=Path("somewhere"))
    several.__dict__["crosscoders"] = {0: run.crosscoder, 1: other}
    several.__dict__["null"] = replace(run)
    study = measure(config, several)
    assert list(study.seeds) == [0, 1]
    assert list(study.null.seeds) == [0]
    assert study.null.own.categories["pause"].latents.keys() == {"30 %"}
    findings = page(config, run, study)
    assert [row[0] for row in table(findings, "Each crosscoder").rows] == [
        "pause, 0", "pause, 1", "turn, 0", "turn, 1",
    ]  # fmt: skip
    assert len(table(findings, "The null pair").rows) == 2
    for name in WORDS:
        written = findings.results["ablation"][name]
        values = [findings.results["seeds"][name][seed]["distilled"] for seed in ("0", "1")]
        assert written["distilled"] == pytest.approx(sum(values) / 2, rel=1e-4)
        assert written["intervals"]["distilled"].note != GIVEN_ONE
    assert findings.results["null"]["ablation"].keys() == set(WORDS)
    assert [each["shows"] for each in findings.results["null"]["verdicts"]] == [False, False]
    alone = measure(replace(config, latents=(1, 2)), several)  # latents of one crosscoder
    assert list(alone.seeds) == [0]
    assert alone.null is None


def test_a_null_pair_without_the_words_is_said(config, run, study):
    missing = replace(study, null_missing="pause: 0 positions")
    findings = page(config, run, missing)
    assert ["the null pair", "pause: 0 positions"] in table(findings, "Left out").rows
    assert findings.results["null"] == {"left_out": "pause: 0 positions"}


def test_one_category_and_two_targets_have_a_page_too(config, run, tmp_path):
    lexicon = tmp_path / "one.json"
    lexicon.write_text(json.dumps({"turn": WORDS["turn"]}))
    least = replace(config, lexicon=lexicon, targets=2, tokens=2048)
    findings = page(least, run, measure(least, run))
    assert [row[0] for row in table(findings, "Change of the word's logit,").rows] == ["turn"]
    assert findings.headline[0].value.low is None
    assert findings.headline[0].value.note
    assert [row[-1] for row in table(findings, "What shows").rows] == ["no"]
    assert findings.headline[0].n == 2


def test_the_papers_baseline_is_the_reconstruction(config, run):
    paper = replace(config, paper=True, tokens=2048, targets=10)
    study = measure(paper, run)
    (each, _) = study.own.categories.values()
    firing = study.own.counts.counts["token"][0]
    assert each.latents["30 %"] == sorted(each.latents["30 %"], key=lambda k: -firing[k])
    arm = torch.tensor(each.latents["30 %"])
    read = ReadTargets.read(run.models, each.targets, "prefix")
    arms = [Arm(crosscoder=run.crosscoder, latents=arm)]
    expected = ablation_effects(run.models, read, arms, paper.method(None))
    torch.testing.assert_close(each["30 %", "chosen"].values, expected.values[:, 0], rtol=1e-3, atol=1e-5)
    assert not page(paper, run, study).claims


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
    assert first.own.categories["pause"].latents == second.own.categories["pause"].latents
    chosen = [study.own.categories["pause"]["30 %", "chosen"].values[:3] for study in (first, second)]
    assert (chosen[0] - chosen[1]).abs().min() > 0
