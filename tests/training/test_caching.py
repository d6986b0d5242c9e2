import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from toolkit.command_line.interrupts import Interrupted
from toolkit.fields import changed
from toolkit.harvest import cache_shards
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import CacheConfig, RunConfig, parse_command_line
from toolkit.training.caching import describe, fill, mend
from toolkit.training.streams import open_activations, open_cache
from toolkit.training.training_run import TrainingRun


@pytest.fixture
def cache_config(run_settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheConfig:
    """Settings of a cache with small shards."""
    monkeypatch.setattr(cache_shards, "SHARD_BYTES", 200_000)
    return parse_command_line([*run_settings, "--cache", str(tmp_path / "cache")], CacheConfig)


def at(things: Iterator[object], count: int, number: signal.Signals) -> None:
    """Go through all, and send a signal to this process after so many."""
    for done, _ in enumerate(things, start=1):
        if done == count:
            signal.raise_signal(number)


def training_on(config: CacheConfig, **changes: object) -> RunConfig:
    """The settings of a run that is trained on a cache."""
    run = RunConfig(**{each.name: getattr(config, each.name) for each in dataclasses.fields(RunConfig)})
    return changed(run, **changes)


def test_defaults_are_those_of_training() -> None:
    config, training = parse_command_line([], CacheConfig), parse_command_line([])
    assert config.feed.cache == Path("runs/cache")
    ours, theirs = (dict(each.settings()) for each in (config, training))
    assert ours.pop("repair") is False
    assert theirs.pop("cache_dtype") is None
    assert ours.pop("cache_dtype") == "fp32"
    assert ours == theirs
    assert parse_command_line(["--pair", "qwen-7b"], CacheConfig).feed.stored_dtype == "bf16"


def test_the_pair_is_as_deep_as_the_site(cache_config: CacheConfig, pair: ModelPair, corpus: Corpus) -> None:
    shallow = cache_config.models.open_to_site(Where(device_map="cpu"), cache_config.layers)
    assert shallow.layers == pair.layers
    whole = next(
        iter(open_activations(cache_config.text, cache_config.mask, pair, corpus.train, seed=cache_config.seed))
    )
    assert torch.equal(
        next(
            iter(open_activations(cache_config.text, cache_config.mask, shallow, corpus.train, seed=cache_config.seed))
        ),
        whole,
    )
    with pytest.raises(ValueError, match="without depth="):
        shallow.base.logits(torch.tensor([[1]]), torch.tensor([[1]]))


def test_a_cache_is_filled_with_what_training_reads(cache_config: CacheConfig, pair: ModelPair, corpus: Corpus) -> None:
    activations = open_cache(cache_config, pair, corpus)
    counted = list(fill(activations, cache_config.tokens_read))
    assert counted == sorted(counted)
    folder = open_cache(cache_config, pair, corpus).folder
    assert cache_config.tokens_read == 10_240 + 1024 + 3 * 512
    assert counted[-1] == folder.tokens
    assert cache_config.tokens_read <= folder.tokens < cache_config.tokens_read + 512
    assert len(folder.shards) > 4
    assert describe([folder])["tokens"] == f"{folder.tokens:,}"
    assert describe([folder, folder])["tokens"] == f"{2 * folder.tokens:,}"
    assert list(fill(open_cache(cache_config, pair, corpus), cache_config.tokens_read)) == []


def test_a_signal_stores_what_was_harvested(cache_config: CacheConfig, pair: ModelPair, corpus: Corpus) -> None:
    activations = open_cache(cache_config, pair, corpus)
    with pytest.raises(Interrupted, match="stopped by SIGTERM, saved at step 5"):
        at(fill(activations, cache_config.tokens_read), 5, signal.SIGTERM)
    assert open_cache(cache_config, pair, corpus).folder.chunks == 5
    list(fill(open_cache(cache_config, pair, corpus), cache_config.tokens_read))
    live = open_activations(cache_config.text, cache_config.mask, pair, corpus.train, seed=cache_config.seed)
    cached = open_cache(cache_config, pair, corpus)
    stored = cached.folder.chunks
    for number, (ours, theirs) in enumerate(zip(cached, live, strict=False), start=1):
        assert torch.equal(ours, theirs)
        if number == stored:
            break
    assert number == stored


def test_only_what_is_broken_is_mended(cache_config: CacheConfig, pair: ModelPair, corpus: Corpus) -> None:
    list(fill(open_cache(cache_config, pair, corpus), cache_config.tokens_read))
    files = sorted(cache_config.feed.cache.glob("*.safetensors"))
    before = [path.read_bytes() for path in files]
    files[1].unlink()
    files[3].write_bytes(before[3][:-3])
    with pytest.raises(ValueError, match=f"lacks {files[1].name}, {files[3].name}"):
        open_cache(cache_config, pair, corpus)
    activations = open_cache(cache_config, pair, corpus, whole=False)
    assert list(mend(activations)) == [files[1].name, files[3].name]
    assert [path.read_bytes() for path in files] == before
    assert list(mend(activations)) == []


@pytest.mark.parametrize("filled", [0.0, 0.3, 1.0])
def test_a_run_is_resumed_inside_of_a_cache(
    open_run: Callable[..., TrainingRun],
    cache_config: CacheConfig,
    pair: ModelPair,
    corpus: Corpus,
    tmp_path: Path,
    filled: float,
) -> None:
    config = training_on(cache_config, out=tmp_path / "run")
    with open_run(changed(config, cache=None, out=tmp_path / "streamed"), pair) as run:
        list(run.steps())
        masks = run.masks
    weights = {name: t.clone() for name, t in run.trainer.state_dict().items()}
    filler = fill(open_cache(cache_config, pair, corpus), cache_config.tokens_read)
    for tokens in filler:
        if tokens > filled * cache_config.tokens_read:
            break
    filler.close()
    with open_run(config, pair) as run, pytest.raises(Interrupted, match="saved at step 10"):
        at(run.steps(), 10, signal.SIGINT)
    with open_run(changed(config, resume=True), pair) as run:
        assert [step.step for [step] in run.steps()] == list(range(11, 41))
        assert run.masks == masks
    assert all(torch.equal(weights[name], tensor) for name, tensor in run.trainer.state_dict().items())


def test_shards_of_the_text_have_caches_of_their_own(
    open_run: Callable[..., TrainingRun], cache_config: CacheConfig, pair: ModelPair, corpus: Corpus, tmp_path: Path
) -> None:
    config = changed(cache_config, shards=2)
    caches = [open_cache(config, pair, corpus, shard=shard) for shard in range(2)]
    for cache in caches:
        list(fill(cache, config.tokens_read))
    assert config.tokens_read == (10_240 + 1024) // 2 + 3 * 512
    assert sorted(path.name for path in config.feed.cache.iterdir()) == ["shard-0-of-2", "shard-1-of-2"]
    weights = []
    for each in (training_on(config, cache=None, out=tmp_path / "1"), training_on(config, out=tmp_path / "2")):
        with open_run(each, pair) as run:
            list(run.steps())
        weights.append({name: tensor.clone() for name, tensor in run.trainer.state_dict().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert "reading activations" not in run.metrics()["seconds_in_reading_thread"]
    with pytest.raises(ValueError, match=r"in 2 shards, and 1 are read here: add --shards 2 .*--cache another folder"):
        open_cache(cache_config, pair, corpus)
