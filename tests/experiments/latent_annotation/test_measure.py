"""Latents of a tiny run are chosen, labelled and scored, and what cannot be is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from watching import Diary

from toolkit.annotation.enrichment import THIRDS
from toolkit.annotation.label_files import LabelFile, write_labels
from toolkit.annotation.labels import CATEGORIES
from toolkit.annotation.predicates import parse_predicate
from toolkit.annotation.trials import TESTS
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.latent_annotation import LatentAnnotationConfig
from toolkit.experiments.latent_annotation.annotate import annotate
from toolkit.experiments.latent_annotation.choosing import choose
from toolkit.experiments.latent_annotation.dictionaries import AdapterLatents, CrosscoderLatents
from toolkit.experiments.latent_annotation.measure import measure
from toolkit.experiments.latent_annotation.page import page
from toolkit.experiments.latent_annotation.tables import category_table, score_table
from toolkit.experiments.run import Run
from toolkit.geometry.decoder_norms import nrn
from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.leaving_out import TooFewError
from toolkit.organism.corpus import documents
from toolkit.settings.findings import FindingsOutput
from toolkit.tracking import watched_by

RARE, DEAD = 7, 5


def counts_of(n: int, *, dead: int | None = None) -> FiringCounts:
    """Counts in which each latent fires on 100 of 1,000 tokens, number k on 6 + k of 50 words of doubt."""
    counts = FiringCounts([Category(name="doubt", words=("Wait",), tokens=("Wait",), token_ids=(1,))], n)
    counts.tokens = 1000
    counts.fired.fill_(100)
    counts.n["token"][0] = 50
    counts.counts["token"][0] = 6 + torch.arange(n)
    if dead is not None:
        counts.fired[dead] = 0
    return counts


def chosen(settings: LatentAnnotationConfig, run: Run) -> tuple[int, ...]:
    return choose(settings, CrosscoderLatents(run), counts_of(12, dead=DEAD)).numbers


def test_by_default_both_ends_and_the_middle_of_the_nrn_scale_are_chosen(run: Run):
    values = nrn(run.crosscoder.W_dec)
    alive = [k for k in values.argsort(stable=True).tolist() if k != DEAD]
    assert chosen(LatentAnnotationConfig(n=2), run) == (*alive[:2], *alive[4:6], *alive[-2:])
    assert len(chosen(LatentAnnotationConfig(n=100), run)) == 9


def test_where_one_or_two_latents_fire_they_are_chosen(run: Run):
    counts = counts_of(12)
    counts.fired[2:] = 0
    assert set(choose(LatentAnnotationConfig(n=5), CrosscoderLatents(run), counts).numbers) == {0, 1}
    counts.fired[1:] = 0
    assert choose(LatentAnnotationConfig(n=5), CrosscoderLatents(run), counts).numbers == (0,)


def test_a_categorys_latents_are_those_with_the_largest_lift(run: Run):
    assert chosen(LatentAnnotationConfig(category="doubt", n=3), run) == (11, 10, 9)
    with pytest.raises(ValueError, match="no category is called 'joy': choose from doubt"):
        chosen(LatentAnnotationConfig(category="joy"), run)


def test_of_an_adapter_some_that_fire_are_drawn(adapter_run: AdapterRun):
    dictionary = AdapterLatents(adapter_run)
    found = choose(LatentAnnotationConfig(n=3), dictionary, counts_of(72, dead=50)).numbers
    assert len(set(found)) == 9
    assert 50 not in found
    assert choose(LatentAnnotationConfig(n=3, seed=1), dictionary, counts_of(72)).numbers != found


def test_latents_are_labelled_and_scored_and_those_that_cannot_be_are_named(annotated):
    found = annotated([1, 2, 3, RARE, DEAD])
    assert found.labels.keys() == {1, 2, 3} == found.scores.latents.keys()
    for name, label in found.labels.items():
        assert label.category in CATEGORIES
        assert parse_predicate(label.explanation) is not None
        assert found.scores.latents[name]["detection"].own.n > 20
    assert found.unscored.keys() == {RARE, DEAD}
    assert "10 of each are needed" in found.unscored[RARE]
    assert repr(found).splitlines()[0].startswith(f"latent 1  {found.labels[1].category}  detection ")
    assert f"latent {DEAD}  unscored: latent {DEAD} fires in 0 passages" in repr(found)


def test_one_latent_may_be_named_alone_and_a_list_of_rare_ones_is_refused(annotated):
    assert list(annotated(2).labels) == [2]
    with pytest.raises(TooFewError, match=f"latent {DEAD} fires in 0 passages"):
        annotated([DEAD])


@pytest.mark.parametrize(
    ("latents", "message"),
    [(64, "latent 64 does not exist"), ("0/3", "give an index, such as 623; layer/index is for --adapter")],
)
def test_latents_that_do_not_exist_are_refused(annotated, latents, message):
    with pytest.raises(ValueError, match=message):
        annotated(latents)


def test_unknown_settings_are_refused(annotated):
    with pytest.raises(TypeError, match="annotate has no setting 'token': give tokens"):
        annotated(1, token=3)
    with pytest.raises(ValueError, match="give one of the two"):
        annotated(1, category="deductive")


def test_latents_of_an_adapter_are_called_by_layer_and_index(adapter_run: AdapterRun):
    found = annotate(adapter_run, ["0/3", "2/7"], tokens=6000)
    assert found.labels.keys() == {"0/3", "2/7"}
    assert found.enrichment.claims() == []
    with pytest.raises(ValueError, match="latent 9/1 does not exist"):
        annotate(adapter_run, "9/1")


def test_the_page_has_labels_scores_controls_and_enrichment(sparse_run: Run, tmp_path: Path):
    out = tmp_path / "out"
    settings = LatentAnnotationConfig(n=3, tokens=12_000, output=FindingsOutput(out=out))
    found = measure(settings, sparse_run)
    shown = page(settings, sparse_run, found)
    results = shown.results
    assert results["labels"].keys() == set(map(str, found.labels))
    one = next(iter(results["labels"].values()))
    assert one.keys() >= {"category", "explanation", "detection", "fuzzing"}
    assert results["controls"].keys() == {"random_explanation", "shuffled"}
    assert results["enrichment"].keys() <= set(THIRDS)
    assert sum(each["n"] for each in results["enrichment"].values()) == len(found.labels)
    assert str(RARE) in results["unscored"] or RARE not in found.chosen.numbers
    shown.save(out)
    written = json.loads((out / "labels.json").read_text())
    assert written["labels"].keys() == results["labels"].keys()
    lines = (out / "neuronpedia.jsonl").read_text().splitlines()
    assert {json.loads(line)["index"] for line in lines} == results["labels"].keys()
    assert {json.loads(line)["layer"] for line in lines} == {f"{sparse_run.layer}-crosscoder"}
    browser = (out / "latents.html").read_text()
    assert all(label.category in browser for label in found.labels.values())
    assert json.dumps(next(iter(found.labels.values())).explanation)[1:30] in browser


def test_annotators_are_compared_on_the_latents_that_both_labelled(annotated, sparse_run: Run, tmp_path: Path):
    first = annotated([1, 2, 3])
    path = tmp_path / "labels.json"
    some = {str(name): first.labels[name] for name in (1, 2)}
    write_labels(path, first.dictionary.hash, LabelFile(annotator="someone", labels=some))
    others = tmp_path / "others.json"
    write_labels(others, first.dictionary.hash, LabelFile(annotator="someone", labels={}))
    config = LatentAnnotationConfig(
        latents=("1", "2", "3"), tokens=12_000, compare=(path, others), output=FindingsOutput(out=tmp_path / "out")
    )
    found = measure(config, sparse_run)
    agreed = page(config, sparse_run, found).results["agreement"]
    assert agreed[f"someone ({path})"]["n"] == 2
    assert agreed[f"someone ({path})"]["same"].value == 1
    assert agreed[f"someone ({others})"]["n"] == 0
    assert agreed[f"someone ({others})"]["kappa"].note == "no latent was labelled by both"


def test_labels_of_another_crosscoder_are_refused_before_anything_is_read(annotated, tmp_path: Path):
    path = tmp_path / "labels.json"
    write_labels(path, "abc", LabelFile(annotator="someone", labels={}))
    diary = Diary()
    with watched_by(diary), pytest.raises(ValueError, match="another dictionary"):
        annotated(1, compare=(path,))
    assert diary.begun == []


def test_labelled_spans_give_latents_their_labels(annotated, tmp_path: Path):
    plain = annotated([1, 2])
    path = tmp_path / "spans.jsonl"
    texts = [document.text for document, _ in zip(documents("thinking"), range(40), strict=False)]
    lines = [{"text": text, "spans": [{"start": 0, "end": len(text), "label": "deduction"}]} for text in texts]
    path.write_text("\n".join(map(json.dumps, [*lines, *({"text": text, "spans": []} for text in texts[::-1] * 3)])))
    found = annotated([1, 2], spans=path)
    assert found.blind == plain.blind == {name: label.category for name, label in plain.labels.items()}
    assert not found.behaviours, "they are looked at where no latents are named"
    by_spans = sum(label.category != found.blind[name] for name, label in found.labels.items())
    table = category_table(found)
    assert ("any of reasoning, by text alone" in [row[0] for row in table.rows]) == (by_spans > 0)
    assert (f"{by_spans} of all 2 labels are what labelled spans say" in table.note) == (by_spans > 0)
    told = replace(found, blind=dict.fromkeys(found.labels, "language"))
    assert told.enrichment.reasoning == found.enrichment.reasoning
    assert all(share.value == 0 for share in told.blind_enrichment.reasoning.values())


def test_why_passages_have_no_reply_is_counted_by_reason(annotated):
    found = annotated([1, 2])
    of_one = found.scores.latents[1]["detection"]
    failed = replace(of_one, own=replace(of_one.own, failures={"the reply was empty": 5}))
    scores = replace(found.scores, latents={n: dict.fromkeys(TESTS, failed) for n in found.labels})
    told = replace(found, scores=scores)
    assert told.failures("detection") == {"the reply was empty": 10}
    assert "counted: the reply was empty (20)." in score_table(told).note
    assert score_table(found).note.endswith("counted.")
