import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolkit.command_line.interrupts import Interrupted
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.fields import changed
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.training.folder import RunFolder
from toolkit.training.streams import open_training
from toolkit.training.training_run import TrainingRun

OpenRun = Callable[[RunConfig, ModelPair], TrainingRun]


def end_state(run: TrainingRun) -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    return {name: t.clone() for name, t in run.trainer.state_dict().items()}, run.folder.records()


def at_step(run: TrainingRun, number: int, act: Callable[[], object]) -> None:
    """Run on, and act once when step `number` is done."""
    for step, *_ in run.steps():
        if step.step == number:
            act()


@pytest.mark.parametrize("buffer_dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_exactly(
    open_run: OpenRun, config: RunConfig, pair: ModelPair, tmp_path: Path, number: signal.Signals, buffer_dtype: str
) -> None:
    config = changed(config, buffer_dtype=buffer_dtype)
    with open_run(changed(config, out=tmp_path / "never stopped"), pair) as run:
        assert len(list(run.steps())) == 40
    weights, records = end_state(run)

    with open_run(config, pair) as run, pytest.raises(Interrupted, match="saved at step 10"):
        at_step(run, 10, lambda: signal.raise_signal(number))
    with open_run(changed(config, resume=True), pair) as run:
        assert [step.step for [step] in run.steps()] == list(range(11, 41))
    resumed_weights, resumed_records = end_state(run)
    assert resumed_records == records
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)


def test_a_run_goes_on_from_each_kept_checkpoint(open_run: OpenRun, config: RunConfig, pair: ModelPair) -> None:
    with open_run(config, pair) as run:
        list(run.steps())
    weights, records = end_state(run)
    assert [path.name for path in run.folder.checkpoints.paths()] == ["step-000000035", "step-000000040"]
    run.folder.checkpoints.paths()[-1].rename(config.output.out / "checkpoints" / "lost")
    with (config.output.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "tok')  # a line cut short by a kill
    with open_run(changed(config, resume=True), pair) as run:
        assert [step.step for [step] in run.steps()] == [36, 37, 38, 39, 40]
    again, records_again = end_state(run)
    assert records_again == records
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_models_that_break_midway_stop_the_run(
    open_run: OpenRun, config: RunConfig, organism_folders: tuple[str, str]
) -> None:
    pair = ModelPair.from_pretrained(base=organism_folders[0], distilled=organism_folders[1], where="cpu")
    weights = list(pair.base.model._module.parameters())
    with open_run(config, pair) as run, pytest.raises(NonFiniteError) as stopped:
        at_step(run, 8, lambda: [weight.data.fill_(float("nan")) for weight in weights])
    error = stopped.value
    assert 8 < error.step < 40
    assert "not finite" in error.statistics[0]
    assert not error.statistics[0].endswith("not finite 0.00%")
    assert error.statistics[1].endswith("not finite 0.00%")
    last = (error.step - 1) // 7 * 7
    assert error.__notes__ == [f"last good checkpoint: {config.output.out / 'checkpoints' / f'step-{last:09d}'}"]


def test_masks_and_seconds_are_told(open_run: OpenRun, config: RunConfig, pair: ModelPair) -> None:
    with open_run(config, pair) as run:
        list(run.steps())
    assert run.masks["kept"] >= run.trainer.tokens_seen == 10_240
    assert run.masks["position_0"] > 0
    assert run.documents["whole"] > 0
    assert run.documents["cut"] > 0
    assert run.masks["beyond_row_length"] > 0
    assert run.metrics()["documents"] == run.documents
    spent = run.seconds_by_stage()
    assert all(seconds >= 0 for seconds in spent.values())
    assert sum(spent.values()) <= run.seconds


def test_a_run_that_was_saved_counts_its_earlier_time(open_run: OpenRun, config: RunConfig, pair: ModelPair) -> None:
    with open_run(config, pair) as run:
        run._before = 1000.0
        list(run.steps())
    with open_run(changed(config, resume=True), pair) as again:
        assert again.seconds >= 1000


def weights_of(run: TrainingRun) -> dict[int, dict[str, torch.Tensor]]:
    return {seed: crosscoder.state_dict() for seed, crosscoder in run.crosscoders()}


def test_each_seed_is_the_crosscoder_of_its_initial_weights_on_one_stream(
    open_run: OpenRun, config: RunConfig, pair: ModelPair, tmp_path: Path
) -> None:
    with open_run(changed(config, out=tmp_path / "alone"), pair) as run:
        alone = [step for [step] in run.steps()]
    with open_run(changed(config, seeds=3), pair) as several:
        steps = list(several.steps())
    own, second, third = weights_of(several).values()
    assert list(weights_of(several)) == [0, 1, 2]
    assert all(torch.equal(tensor, own[name]) for name, tensor in weights_of(run)[0].items())
    assert [first for first, *_ in steps] == alone
    assert not torch.equal(second["W_dec"], third["W_dec"])
    assert {first.config.scale for _, first in several.crosscoders()} == {dict(run.crosscoders())[0].config.scale}
    by_seed = [[each for each in several.folder.records() if each["seed"] == seed] for seed in range(3)]
    assert [len(records) for records in by_seed] == [40, 40, 40]
    assert [{k: v for k, v in each.items() if k != "seed"} for each in by_seed[0]] == run.folder.records()


def test_a_run_of_seeds_that_was_stopped_goes_on_exactly(
    open_run: OpenRun, config: RunConfig, pair: ModelPair, tmp_path: Path
) -> None:
    config = changed(config, seeds=2)
    with open_run(changed(config, out=tmp_path / "never stopped"), pair) as run:
        list(run.steps())
    with open_run(config, pair) as stopped, pytest.raises(Interrupted, match="saved at step 10"):
        at_step(stopped, 10, lambda: signal.raise_signal(signal.SIGTERM))
    with open_run(changed(config, resume=True), pair) as again:
        list(again.steps())
    assert again.folder.records() == run.folder.records()
    for seed, weights in weights_of(run).items():
        assert all(torch.equal(tensor, weights_of(again)[seed][name]) for name, tensor in weights.items())


def shorter_text(text_file: Path, tmp_path: Path, documents: int) -> Corpus:
    path = tmp_path / "shorter.jsonl"
    path.write_text("".join(text_file.read_text().splitlines(keepends=True)[:documents]))
    return open_corpus(str(path), text_field="text", mix=(0.5, 0.5), seed=0)


@pytest.mark.parametrize("stopped_at", [None, 12])
def test_schedules_end_with_the_data(
    config: RunConfig, pair: ModelPair, text_file: Path, tmp_path: Path, stopped_at: int | None
) -> None:
    training = dataclasses.replace(config.training, tokens=1_000_000, k_anneal_steps=2000, lr_warmup_steps=1000)
    config = changed(config, training=training)
    corpus = shorter_text(text_file, tmp_path, 150)
    folder = RunFolder.open(config.output, config.settings())
    folder.write_json("config.json", {"run": config.settings()})
    with TrainingRun(config, pair, open_training(config, pair, corpus), folder) as run:
        assert run.data_ended() is None
        metrics = []
        for [step] in run.steps():
            metrics.append(step)
            if step.step == stopped_at:
                break
    if stopped_at:
        run.save()
        config = changed(config, resume=True)
        with TrainingRun(config, pair, open_training(config, pair, corpus), folder) as run:
            metrics += [step for [step] in run.steps()]
    last = metrics[-1]
    assert 15 < last.step < 40
    assert last.coefficient == training.k < metrics[10].coefficient
    assert last.lr < training.lr / 4
    said = f"the data ended after {last.tokens:,} of 1,000,000 tokens, all schedules end with step {last.step} of 3,906"
    assert run.data_ended().startswith(said)
    assert dict(run.crosscoders())[0].config.k == training.k


def test_a_text_smaller_than_the_buffer_is_known_before_the_first_step(
    open_run: OpenRun, config: RunConfig, pair: ModelPair
) -> None:
    training = dataclasses.replace(config.training, tokens=1_000_000)
    config = changed(config, training=training, buffer_tokens=100_000)
    with open_run(config, pair) as run:
        assert run.data_ended() is not None
        steps = [step for [step] in run.steps()]
    assert run.trainer.training.steps == len(steps) < training.steps
    assert steps[-1].coefficient == training.k
