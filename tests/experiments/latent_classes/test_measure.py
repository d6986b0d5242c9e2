import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import LatentScaling, latent_scaling
from toolkit.experiments.latent_classes import LatentClassesConfig
from toolkit.experiments.latent_classes.measure import LatentClassesResult, measure
from toolkit.experiments.latent_classes.page import page
from toolkit.experiments.run import Run
from toolkit.fields import changed
from toolkit.geometry.decoder_norms import nrn
from toolkit.latents.classification import LatentClasses, classify
from toolkit.models.where import Where
from toolkit.reports.files import write_results
from toolkit.reports.findings import Findings, Table
from toolkit.settings.findings import CrosscoderChoice, TextChoice
from toolkit.statistics.shares import wilson

N_LATENTS, TOKENS = 48, 1500
DEAD = 7


@pytest.fixture(scope="module")
def config(organism_folders, text_file, tmp_path_factory) -> LatentClassesConfig:
    """A random crosscoder of two random models, with norms from one side to the other, and latent 7 dead."""
    generator = torch.Generator().manual_seed(0)
    shape = CrosscoderConfig(
        d_model=16, models=("base", "distilled"), layers=(1,), n_latents=N_LATENTS, sparsity="topk", k=6,
        sources=organism_folders, scale=(0.5, 0.25),
    )  # fmt: skip
    crosscoder = Crosscoder(shape)
    for tensor in (crosscoder.W_enc, crosscoder.W_dec, crosscoder.b_dec):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    share = torch.linspace(0.01, 0.99, N_LATENTS)
    crosscoder.W_dec *= torch.stack([1 - share, share], dim=1)[:, :, None]
    crosscoder.b_enc[DEAD] = -1e6
    folder = tmp_path_factory.mktemp("run")
    crosscoder.save_pretrained(folder)
    return LatentClassesConfig(
        crosscoder=CrosscoderChoice(run=folder),
        text=TextChoice(data=str(text_file)),
        where=Where(device_map="cpu"),
        tokens=TOKENS,
        listed=3,
    )


def save_seeds(folder: Path, crosscoder: Crosscoder, *seeds: int, **changes: object) -> Path:
    """A run folder of a crosscoder, with those of other seeds, whose decoder rows are other ones."""
    for seed in (0, *seeds):
        other = Crosscoder(replace(crosscoder.config, **changes))
        other.load_state_dict(crosscoder.state_dict(), strict=False)
        order = torch.randperm(len(other.W_dec), generator=torch.Generator().manual_seed(seed))
        other.W_dec.copy_(other.W_dec if seed == 0 else other.W_dec[order])
        other.save_pretrained(folder / f"seed_{seed}" if seed else folder)
    return folder


@pytest.fixture(scope="module")
def run(config) -> Run:
    return Run.of(config.crosscoder, config.text, config.models, config.where).load()


@pytest.fixture(scope="module")
def result(config, run) -> LatentClassesResult:
    return measure(config, run)


@pytest.fixture(scope="module")
def findings(config, run, result) -> Findings:
    return page(config, run, result)


@pytest.fixture(scope="module")
def by_hand(run, select) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and activations of the same tokens, read batch by batch."""
    mask, ids, activations = run.open_mask(), [], []
    for batch in run.tokens():
        residual = run.models.residual(batch.input_ids, batch.attention_mask)
        selected = select(mask, batch, residual)
        ids.append(batch.input_ids[selected])
        activations.append(residual[selected])
        if sum(map(len, ids)) >= TOKENS:
            break
    return torch.cat(ids), torch.cat(activations)


@pytest.fixture(scope="module")
def beside_null(config, tmp_path_factory) -> LatentClassesConfig:
    """The same with two seeds, and a null run of three, whose first crosscoder is the run's own."""
    folder = tmp_path_factory.mktemp("seeds")
    crosscoder = Crosscoder.from_pretrained(config.crosscoder.run)
    own, null = save_seeds(folder / "own", crosscoder, 1), save_seeds(folder / "null", crosscoder, 1, 2)
    return replace(config, crosscoder=CrosscoderChoice(run=own, null_run=null), tokens=300)


def opened(settings: LatentClassesConfig) -> Run:
    return Run.of(settings.crosscoder, settings.text, settings.models, settings.where).load()


def table(findings: Findings, title: str) -> Table:
    (found,) = [t for t in findings.tables if t.title.startswith(title)]
    return found


def test_one_pass_gives_what_separate_passes_give(run, result, by_hand):
    ids, x = by_hand
    codes = run.crosscoder.encode(x)
    assert result.firing.tokens == len(ids) >= TOKENS
    assert torch.equal(result.firing.fired, (codes > 0).sum(dim=0))
    assert result.classes.alive.tolist() == [latent != DEAD and n > 0 for latent, n in enumerate(result.firing.fired)]
    torch.testing.assert_close(result.classes.nrn, nrn(run.crosscoder.W_dec))
    sums = LatentScaling(run.crosscoder)
    sums.add(x, codes)
    scaling = sums.ratios()
    torch.testing.assert_close(result.scaling.nu_error, scaling.nu_error, rtol=1e-3, atol=1e-4, equal_nan=True)
    torch.testing.assert_close(result.scaling.beta_reconstruction, scaling.beta_reconstruction, equal_nan=True)


def test_the_listed_latents_are_the_ends_and_their_example_is_the_strongest_firing(run, result, by_hand):
    ids, x = by_hand
    codes = run.crosscoder.encode(x)
    often = [k for k in range(N_LATENTS) if (codes[:, k] > 0).sum() >= 20]
    assert result.listed["base"] == sorted(often, key=lambda k: result.classes.nrn[k])[:3]
    assert result.listed["distilled"] == sorted(often, key=lambda k: -result.classes.nrn[k])[:3]
    for latent in (*result.listed["base"], *result.listed["distilled"]):
        token = run.models.tokenizer.decode(ids[codes[:, latent].argmax()])
        assert f"«{token.lstrip() or token}»".replace("\n", "⏎") in result.examples[latent][0]


def test_the_tags_count_every_latent_once(findings, result):
    rows = table(findings, "Tags").rows
    assert [row[0] for row in rows] == ["base only", "shared", "distilled only", "between", "dead"]
    assert sum(row[1] for row in rows) == sum(row[3] for row in rows) == N_LATENTS
    tags = result.classes.nrn_tags()
    for row in rows[:3]:
        survive = [bool(s) for s, tag in zip(result.scaling.survives, tags, strict=True) if tag == row[0]]
        assert row[2] == wilson(sum(survive), len(survive))
    assert sum(row[1] for row in table(findings, "Latent scaling along NRN").rows) == int(result.classes.alive.sum())


def test_few_exclusive_latents_are_said_to_be_few(config, run, result, findings):
    assert "Only" not in table(findings, "Tags").note
    W_dec = run.crosscoder.W_dec.clone()
    run.crosscoder.W_dec[:] = torch.nn.functional.normalize(W_dec, dim=2)
    try:
        shared = measure(config, run)
    finally:
        run.crosscoder.W_dec.copy_(W_dec)
    assert "Only 0 latents are exclusive by NRN" in table(page(config, run, shared), "Tags").note
    assert shared.listed == {"base": [], "distilled": []}


def test_results_are_strict_json_with_a_value_for_every_latent(findings, result, tmp_path):
    write_results(tmp_path / "results.json", findings.results)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {len(values) for values in results["latents"].values()} == {N_LATENTS}
    assert results["latents"]["nu_error"][DEAD] is None
    assert results["latents"]["tag_nrn"][DEAD] == "dead"
    assert results["survivors"]["nrn"]["dead"] == {"n": int((~result.classes.alive).sum()), "survive": 0}
    assert "s_base / s_distilled = 2.000" in findings.facts["scales"]


def test_the_facts_say_what_became_of_position_0(config, run, result, findings):
    assert findings.facts["tokens"].endswith("position 0 is left out")
    kept = replace(run, settings=changed(run.settings, keep_position_0=True))
    assert page(config, kept, result).facts["tokens"].endswith("position 0 is kept")


def test_the_category_table_names_the_largest_lift(findings, result):
    rows = table(findings, "The latent with the largest lift").rows
    assert [row[:2] for row in rows[:2]] == [["self-reflection", "on it"], ["self-reflection", "before"]]
    often = result.firing.fired >= 20
    for row in rows:
        if row[3] is None:
            continue
        names = [category.name for category in result.firing.categories]
        place = "token" if row[1] == "on it" else "predicting"
        lifts = result.firing.lift(place)
        index = names.index(row[0])
        assert row[4] == pytest.approx(lifts[index, often].max().item())
        assert row[5] == pytest.approx(max(lifts[i, int(row[3])].item() for i in range(len(names)) if i != index))


@pytest.fixture
def labels(text_file: Path, tmp_path: Path) -> Path:
    """The first word of each text is labelled, and in one text the second as well."""
    path = tmp_path / "labels.jsonl"
    texts = [json.loads(line)["text"] for line in text_file.read_text().splitlines()[:30]]
    records = [{"text": t, "spans": [{"start": 0, "end": len(t) // 3, "label": "start"}]} for t in texts]
    records[4]["spans"].append({"start": len(texts[4]) // 2, "end": len(texts[4]), "label": "rare"})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_labelled_documents_add_the_auroc_table(config, run, labels):
    with_labels = replace(config, tokens=200, labels=labels)
    found = page(with_labels, run, measure(with_labels, run))
    added = table(found, "What finds each label")
    assert [row[0] for row in added.rows] == ["start", "start"]
    assert added.rows[0][2].low < added.rows[0][2].value < added.rows[0][2].high
    assert added.note.startswith("30 documents. Too rare")
    assert "Too rare to be in both halves: rare." in added.note
    assert found.results["behaviours"][0]["behaviour"] == "start"
    assert list(found.results["behaviours"][0]["seeds"]) == list(found.results["seeds"]) == ["0"]
    assert [claim.name for claim in found.claims] == ["start spans, one latent", "start spans, 5 latents"]


@pytest.mark.parametrize("name", ["tokens", "listed", "examples"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} 0: must be at least 1"):
        LatentClassesConfig(**{name: 0})


def test_every_seed_of_both_pairs_is_measured_in_one_reading_of_the_text_each(beside_null, monkeypatch):
    run, read = opened(beside_null), []
    batches = Run.coded
    monkeypatch.setattr(Run, "coded", lambda self, *given, **more: read.append(self) or batches(self, *given, **more))
    found = measure(beside_null, run)
    assert read == [run, run.null]
    assert (list(found.pairs.seeds), list(found.pairs.null)) == ([0, 1], [0, 1, 2])
    x = torch.cat([batch.activations for batch in batches(run, beside_null.tokens)])
    for pair, crosscoders in ((found.pairs.seeds, run.crosscoders), (found.pairs.null, run.null.crosscoders)):
        for seed, crosscoder in crosscoders.items():
            alone = classify(crosscoder, x)
            torch.testing.assert_close(pair[seed].classes.nrn, alone.nrn)
            assert pair[seed].count("distilled only") == alone.training_units_tags().count("distilled only")
            survivors = int((latent_scaling(crosscoder, x).survives & _tagged(alone, "distilled only")).sum())
            assert pair[seed].survivors("distilled only") == survivors


def _tagged(classes: LatentClasses, tag: str) -> torch.Tensor:
    return torch.tensor([each == tag for each in classes.training_units_tags()])


def test_what_the_null_pair_has_too_does_not_show(beside_null, tmp_path):
    run = opened(beside_null)
    findings = page(beside_null, run, measure(beside_null, run))
    assert len(findings.claims) == 4
    verdicts = table(findings, "What shows")
    assert {row[-1] for row in verdicts.rows} == {"no"}
    rows = {row[0]: row[1:] for row in table(findings, "Every seed's latents, beside").rows}
    own, _, null, _, difference = rows["distilled only"]
    assert own == ", ".join(null.split(", ")[:2])
    assert "seeds 0, 1, 2" in findings.facts["null pair"]
    write_results(tmp_path / "results.json", findings.results)
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["seeds"]) == ["0", "1"]
    assert results["seeds"]["0"] == results["null"]["0"]
    assert results["over_seeds"]["distilled only"]["difference"]["value"] == pytest.approx(difference.value)
    assert results["neutral"] == pytest.approx(0.5 / 0.75)
    assert [verdict["shows"] for verdict in results["verdicts"]] == [False] * 4


def test_without_a_null_run_nothing_is_claimed_and_the_page_says_how_to_train_one(findings):
    assert not findings.claims
    assert findings.facts["null pair"] == "none named"
    note = table(findings, "Every seed's latents").note
    assert "--base BASE --distilled CONTROL --out NULL; then add --null-run NULL" in note
    assert "given this crosscoder" in note
    assert findings.results["null"] is None
    assert not [t for t in findings.tables if t.title == "What shows"]


def test_a_null_run_of_another_shape_is_refused_before_anything_is_read(beside_null, tmp_path):
    crosscoder = Crosscoder.from_pretrained(beside_null.crosscoder.run)
    null = save_seeds(tmp_path / "other", crosscoder, k=5)
    other = replace(beside_null, crosscoder=CrosscoderChoice(run=beside_null.crosscoder.run, null_run=null))
    with pytest.raises(ValueError, match=r"has k 5, and .* has 6: what they show does not compare"):
        measure(other, opened(other))
