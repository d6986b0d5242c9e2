"""The latents of a tiny adapter: the same whatever layers are read together, resumed, and shown on a page."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_adapters import DEAD, N_LATENTS

from toolkit.adapters.feature_files import FeatureFiles, cantor_number
from toolkit.experiments.adapter_latents import AdapterLatentsConfig
from toolkit.experiments.adapter_latents import measure as experiment
from toolkit.experiments.adapter_latents.measure import AdapterLatents, records
from toolkit.experiments.adapter_latents.page import page
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.leaving_out import TooFewError
from toolkit.organism.corpus import documents
from toolkit.settings.findings import FindingsOutput, TextChoice

Measure = Callable[..., tuple[AdapterLatentsConfig, AdapterLatents]]


@pytest.fixture
def measure(adapter_run: AdapterRun, tmp_path: Path) -> Measure:
    def measured(**changes: object) -> tuple[AdapterLatentsConfig, AdapterLatents]:
        config = AdapterLatentsConfig(
            **{"output": FindingsOutput(out=tmp_path / "out"), "tokens": 1500, "top": 3, "sampled": 4} | changes
        )
        return config, experiment.measure(config, adapter_run)

    return measured


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Labelled documents: every full stop is a span."""
    path = tmp_path / "labelled.jsonl"
    texts = [document.text for document, _ in zip(documents("thinking"), range(24), strict=False)]
    stops = [[{"start": i, "end": i + 1, "label": "stop"} for i, c in enumerate(text) if c == "."] for text in texts]
    lines = [json.dumps({"text": text, "spans": spans}) for text, spans in zip(texts, stops, strict=True)]
    path.write_text("\n".join(lines))
    return path


def all_records(adapter_run: AdapterRun, config: AdapterLatentsConfig, found: AdapterLatents) -> list[object]:
    latents = [divmod(number, N_LATENTS) for number in found.alive]
    return [
        (each.latent, each.frequency, each.strongest, each.promoted)
        for each in records(config, adapter_run, found, latents)
    ]


def test_layers_read_one_by_one_give_what_layers_read_together_give(
    adapter_run: AdapterRun, measure: Measure, tmp_path: Path
) -> None:
    config, whole = measure()
    apart, parts = measure(layers_together=1, output=FindingsOutput(out=tmp_path / "apart"))
    assert [*map(list, whole.blocks)] == [[0, 1, 2]]
    assert [*map(list, parts.blocks)] == [[0], [1], [2]]
    assert torch.equal(whole.firing.fired, parts.firing.fired)
    assert torch.equal(whole.firing.lift("token"), parts.firing.lift("token"))
    assert torch.equal(whole.regions.fired, parts.regions.fired)
    torch.testing.assert_close(whole.regions.shares, parts.regions.shares, equal_nan=True)
    assert [whole.regions.l0(layer) for layer in range(3)] == [parts.regions.l0(layer) for layer in range(3)]
    assert DEAD not in [divmod(number, N_LATENTS) for number in whole.alive]
    for one, other in zip(
        *(all_records(adapter_run, *each) for each in ((config, whole), (apart, parts))), strict=True
    ):
        assert one[:2] == other[:2]
        assert one[2][0].token_ids == other[2][0].token_ids


def test_a_later_call_reads_on(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "LARGEST_CODES", 3 * N_LATENTS * 600)  # of a batch of 600 tokens
    _, first = measure(tokens=400)
    assert 400 <= first.firing.tokens < 1500
    _, later = measure()
    _, at_once = measure(output=FindingsOutput(out=tmp_path / "other"))
    assert torch.equal(later.firing.fired, at_once.firing.fired)
    assert torch.equal(later.regions.active, at_once.regions.active)
    with pytest.raises(ValueError, match="top: 3 then, 2 now"):
        measure(top=2)


def test_findings_hold_every_latents_numbers_and_name_latents_by_layer(
    adapter_run: AdapterRun, measure: Measure, labels: Path
) -> None:
    config, found = measure(latents=("1/3", "2/5"), labels=labels)
    findings = page(config, adapter_run, found)
    results = findings.results
    assert results["alive"] == (found.firing.fired.view(3, N_LATENTS) > 0).sum(dim=1).tolist()
    assert sum(results["dead"]) == 3 * N_LATENTS - len(found.alive)
    columns = results["latents"]
    place = columns["latent"].index("1/3")
    number = N_LATENTS + 3
    assert columns["frequency"][place] == pytest.approx(float(found.frequency[number]), rel=1e-3)
    shares = [columns[f"in {part}"][place] for part in ("question", "thinking", "answer")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert findings.headline[1].value.value == pytest.approx(sum(each.value for each in results["l0"]))
    layer_table = findings.tables[0]
    assert [row[1] for row in layer_table.rows] == results["alive"]
    details = [table for table in findings.tables if table.title.startswith("Latent ")]
    assert "Latent 1/3: fires on" in details[0].title
    assert "Latent 2/5: never fired" in details[1].title
    assert "/" in results["spans"]["behaviours"][0]["latent"]
    assert len(findings.claims) == 2
    browser = (config.output.out / "latents.html").read_text()
    assert '"1/3"' in browser
    assert "fires in thinking 90–100 %" in browser


def test_other_modes_read_other_inputs(measure: Measure, tmp_path: Path) -> None:
    _, adapted = measure()
    _, distilled = measure(mode="distilled", output=FindingsOutput(out=tmp_path / "distilled"))
    assert adapted.firing.tokens == distilled.firing.tokens
    assert not torch.equal(adapted.firing.fired, distilled.firing.fired)


def test_documents_without_marks_have_no_regions_and_that_is_said(adapter_run: AdapterRun, tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"What is {n}+7? Be careful. The answer is {n}."}) + "\n" for n in range(90))
    )
    run = AdapterRun(
        adapter=adapter_run.adapter,
        choice=adapter_run.choice,
        models_choice=adapter_run.models_choice,
        where=adapter_run.where,
        text=replace(adapter_run.text, data=str(path)),
    )
    config = AdapterLatentsConfig(output=FindingsOutput(out=tmp_path / "plain"), tokens=100, top=2)
    findings = page(config, run, experiment.measure(config, run))
    assert findings.results["marked_documents"] == 0
    assert findings.results["regions"] is None
    assert not findings.charts
    assert "0 of these documents have both" in findings.facts["read"]


@pytest.mark.parametrize(
    ("latent", "said"),
    [("3/0", "latent 3/0 does not exist: the adapter has layers 0 to 2"), ("17", "give layer/index")],
)
def test_a_latent_that_is_not_there_is_refused_before_anything_is_read(
    measure: Measure, latent: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        measure(latents=(latent,))
    assert not (tmp_path / "out").exists()


def test_an_adapter_whose_latents_are_all_dead_is_an_error(adapter_run: AdapterRun, tmp_path: Path) -> None:
    dead = AdapterRun.of(
        adapter_run.choice, TextChoice(data=adapter_run.text.data), adapter_run.models_choice, adapter_run.where
    )
    for transcoder in dead.models.transcoders.transcoders:
        transcoder.b_enc.data.fill_(-1e6)
    config = AdapterLatentsConfig(output=FindingsOutput(out=tmp_path / "dead"), tokens=100)
    with pytest.raises(TooFewError, match="none of 72 latents fired on"):
        experiment.measure(config, dead)


def test_feature_files_hold_the_same_latents(adapter_run: AdapterRun, measure: Measure) -> None:
    for kind in ("packed", "pages"):
        config, found = measure(features=kind)
        page(config, adapter_run, found)
    folder = config.output.out
    packed = FeatureFiles.open(folder)
    assert packed.read(*DEAD) is None
    feature = packed.read(1, 3)
    assert feature.activation_frequency == pytest.approx(float(found.frequency[N_LATENTS + 3]))
    alone = json.loads((folder / "features" / f"{cantor_number(1, 3)}.json").read_text())
    assert alone["top_logits"] == list(feature.top_logits)


def test_thinking_that_is_cut_off_has_no_regions(measure: Measure, tmp_path: Path) -> None:
    _, whole = measure()
    _, cut = measure(row_length=24, output=FindingsOutput(out=tmp_path / "cut"))
    assert whole.regions.marked_documents > cut.regions.marked_documents
    assert max(cut.regions.tokens.sum(dim=1)) == 23
