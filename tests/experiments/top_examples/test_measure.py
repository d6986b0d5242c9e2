import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from watching import Diary

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import LatentScaling
from toolkit.experiments.run import Run
from toolkit.experiments.top_examples import TopExamplesConfig
from toolkit.experiments.top_examples import measure as experiment
from toolkit.experiments.top_examples.measure import (
    LatentRecords,
    open_reading,
    open_store,
    read_on,
)
from toolkit.experiments.top_examples.page import entries, page
from toolkit.geometry.decoder_norms import nrn
from toolkit.harvest.documents import open_corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import parse_command_line
from toolkit.settings.findings import FindingsOutput
from toolkit.tracking import watched_by
from toolkit.training.streams import open_activations

N_LATENTS, DEAD = 24, 23
Measure = Callable[..., tuple[TopExamplesConfig, LatentRecords]]


@pytest.fixture
def run(pair: ModelPair, run_arguments: list[str], text_file: Path) -> Run:
    """A crosscoder with random rows; its last latent never fires."""
    crosscoder = Crosscoder(
        CrosscoderConfig(
            d_model=16, models=("base", "distilled"), layers=pair.layers, n_latents=N_LATENTS, sparsity="l1", k=1
        )
    )
    generator = torch.Generator().manual_seed(0)
    crosscoder.W_enc.copy_(torch.randn(crosscoder.W_enc.shape, generator=generator))
    crosscoder.W_dec.copy_(torch.randn(crosscoder.W_dec.shape, generator=generator))
    crosscoder.b_enc[DEAD] = -1e6
    config = parse_command_line(run_arguments)
    corpus = open_corpus(str(text_file), text_field="text", mix=(0.5, 0.5), seed=0)
    return Run(settings=config, open_models=lambda: pair, crosscoder=crosscoder, open_text=lambda: corpus)


@pytest.fixture
def measure(run: Run, tmp_path: Path) -> Measure:
    def measured(**changes: object) -> tuple[TopExamplesConfig, LatentRecords]:
        config = TopExamplesConfig(
            **{"output": FindingsOutput(out=tmp_path / "out"), "tokens": 600, "top": 3, "sampled": 4} | changes
        )
        return config, experiment.measure(config, run)

    return measured


def test_records_are_those_of_the_text(run: Run, measure: Measure) -> None:
    _, records = measure()
    n = records.firing.tokens
    x = torch.cat(
        list(
            open_activations(run.reading.text, run.reading.mask, run.models, run.corpus.held_out, seed=run.reading.seed)
        )
    )
    codes = run.crosscoder.encode(x[:n])
    assert records.latents == tuple(latent for latent in range(N_LATENTS) if latent != DEAD)
    torch.testing.assert_close(records.frequency, (codes > 0).float().mean(dim=0))
    torch.testing.assert_close(records.classes.nrn, nrn(run.crosscoder.W_dec))
    sums = LatentScaling(run.crosscoder)
    sums.add(x, run.crosscoder.encode(x))
    scaling = sums.ratios()
    expected = torch.maximum(scaling.nu_error, scaling.nu_reconstruction)
    torch.testing.assert_close(records.nu, expected, rtol=1e-3, atol=1e-3, equal_nan=True)
    best = float(codes[:, 4].max())
    assert records.examples.strongest(4)[0].score == pytest.approx(best, rel=1e-4)


def test_entries_show_the_text_and_its_lens(run: Run, measure: Measure) -> None:
    _, records = measure(latents=(7, 2))
    shown = list(entries(records))
    assert [entry.latent for entry in shown] == [7, 2]
    tokenizer = run.models.tokenizer
    for line, entry in enumerate(shown):
        numbers = entry.statistics
        found = records.examples.strongest(entry.latent)
        assert [e.activations[e.peak] for e in entry.examples] == [e.score for e in found]
        assert ["".join(e.tokens) for e in entry.examples] == [tokenizer.decode(list(e.token_ids)) for e in found]
        assert sum(len(examples) for _, examples in entry.quantile_samples) == 4
        assert numbers["frequency"] == float(records.frequency[entry.latent])
        assert numbers["lift:on self-reflection"] == float(records.firing.lift("token")[0, entry.latent])
        assert numbers["lift:before contrastive"] == float(records.firing.lift("predicting")[3, entry.latent])
        token = int(records.lens["distilled"].promoted[line, 0])
        assert entry.promoted["distilled"][0][0] == tokenizer.decode([token])
        assert set(entry.suppressed) == {"base", "distilled"}


def test_the_category_table_holds_what_the_counts_say(measure: Measure, run: Run) -> None:
    config, records = measure()
    findings = page(config, run, records)
    table, *_ = findings.tables
    assert table.rows
    assert table.note.endswith("All is given this crosscoder.")
    firing = records.firing
    names = [category.name for category in firing.categories]
    for title, latent, lift, on_it, on_all, _ in table.rows:
        name, _, n = title.partition(", n ")
        index = names.index(name)
        assert int(n.replace(",", "")) == firing.n["token"][index]
        assert lift.value == pytest.approx(float(firing.lift("token")[index, int(latent)]), rel=1e-4)
        assert lift.low < lift.value < lift.high or on_it in (0.0, 1.0)
        assert lift.value == pytest.approx(on_it / on_all, rel=1e-4)
    assert len(findings.results["latents"]) == N_LATENTS - 1


def test_latents_asked_for_by_index_are_shown_with_their_examples(measure: Measure, run: Run) -> None:
    config, records = measure(latents=(7, 2))
    _, _, seven, two, *_ = page(config, run, records).tables
    assert seven.title.startswith("Latent 7: ")
    assert two.title.startswith("Latent 2: ")
    text, score = seven.rows[0]
    example = records.examples.strongest(7)[0]
    assert score == example.score
    assert f"«{records.pieces[example.token_ids[example.peak]].strip()}»" in text
    assert "base promotes " in seven.note


def test_the_browser_takes_the_entries(measure: Measure, run: Run) -> None:
    config, records = measure()
    browser = Path(page(config, run, records).facts["browser"])
    assert browser == config.output.out / "latents.html"
    shown = browser.read_text(encoding="utf-8")
    assert "on self-reflection" in shown
    assert "given this crosscoder: one of another seed has others" in shown


def test_latents_that_do_not_exist_are_named_with_the_range(measure: Measure) -> None:
    _, records = measure(latents=(2, 0, 2))
    assert records.latents == (2, 0)
    with pytest.raises(ValueError, match=rf"latent {N_LATENTS} does not exist: .* 0 to {N_LATENTS - 1}"):
        measure(latents=(1, N_LATENTS, -1))


def test_reading_counts_only_what_was_not_read_before(measure: Measure) -> None:
    read = 0
    for wanted in (600, 5000):
        with watched_by(diary := Diary()):
            _, records = measure(tokens=wanted)
        done, total = next(numbers for what, *numbers in diary.counts() if what == "reading text")
        assert (done, total) == (records.firing.tokens - read, wanted - read)
        read = records.firing.tokens


def test_a_reading_goes_on_where_the_file_stands(measure: Measure, run: Run) -> None:
    config, records = measure()
    with open_store(config, run) as store:
        reading = open_reading(config, run, store)
        assert reading.firing.tokens == records.firing.tokens >= 600


def test_a_dead_latent_is_named(measure: Measure) -> None:
    with pytest.raises(ValueError, match=rf"latents {DEAD} fired on none of 1,\d+ held-out tokens"):
        measure(latents=(DEAD,))


def test_a_dead_latent_among_others_is_left_out_with_a_word(measure: Measure, run: Run) -> None:
    config, records = measure(latents=(3, DEAD))
    assert records.latents == (3,)
    *_, left_out = page(config, run, records).tables
    [[latent, why]] = left_out.rows
    assert (left_out.title, latent) == ("Left out", str(DEAD))
    assert f"{DEAD} fired on none of" in why


def test_a_category_without_latents_is_left_out_with_a_word(measure: Measure, run: Run, tmp_path: Path) -> None:
    lexicon = tmp_path / "words.json"
    lexicon.write_text('{"self-reflection": ["is"], "odd": ["antidisestablishment"]}')
    config, records = measure(lexicon=lexicon)
    table, left_out = page(config, run, records).tables
    assert {row[0].partition(",")[0] for row in table.rows} == {"self-reflection"}
    assert [name for name, _ in left_out.rows] == ["odd"]


def test_another_crosscoder_does_not_go_on_with_the_file(run: Run, tmp_path: Path) -> None:
    config = TopExamplesConfig(output=FindingsOutput(out=tmp_path))
    with open_store(config, run) as store:
        less = dataclasses.replace(config, tokens=100)
        read_on(less.tokens, open_reading(less, run, store))
    other = Crosscoder(run.crosscoder.config)
    with pytest.raises(ValueError, match=r"started with other settings .*crosscoder: "):
        open_store(config, dataclasses.replace(run, crosscoder=other))
    with pytest.raises(ValueError, match="top: 10 then, 11 now"):
        open_store(dataclasses.replace(config, top=11), run)
    open_store(dataclasses.replace(config, tokens=9, latents=(5,)), run).close()


@pytest.mark.parametrize("name", ["tokens", "top", "sampled"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} 0: must be at least 1"):
        TopExamplesConfig(**{name: 0})
