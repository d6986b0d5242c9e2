from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from datasets import IterableDataset

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.latents import example_pass
from toolkit.latents.categories import Category
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.windows import Window
from toolkit.models.pair import ModelPair

LATENTS = (5, 40, 90)
CATEGORY = Category(name="sevens", words=("w7",), tokens=("w7",), token_ids=(7,))


def texts() -> Iterator[dict[str, str]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        length = int(torch.randint(8, 40, (1,), generator=generator))
        yield {"text": " ".join(f"w{i}" for i in torch.randint(40, (length,), generator=generator).tolist())}


def open_pass(pair: ModelPair, crosscoder: Crosscoder, store: ExampleStore) -> ExamplePass:
    tokens = TokenStream(IterableDataset.from_generator(texts), pair.tokenizer, row_length=32, batch_tokens=200, seed=0)
    window = Window(before=5, after=2)
    examples = TopExamples(128, top=4, sampled=4, window=window, generator=torch.Generator().manual_seed(2))
    mask = TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)
    return ExamplePass(
        partial(coded_batches, pair, crosscoder),
        tokens,
        mask,
        examples=examples,
        firing=FiringCounts([CATEGORY], 128),
        store=store,
    )


def assert_same(first: ExamplePass, second: ExamplePass) -> None:
    assert first.firing.tokens == second.firing.tokens
    assert torch.equal(first.firing.fired, second.firing.fired)
    assert torch.equal(first.firing.lift("predicting"), second.firing.lift("predicting"))
    assert torch.equal(first.firing.mass, second.firing.mass)
    for latent in LATENTS:
        assert first.examples.strongest(latent) == second.examples.strongest(latent)
        assert first.examples.quarters(latent) == second.examples.quarters(latent)


def test_the_strongest_are_those_of_every_document_read_alone(tiny_pair: ModelPair, identity: Crosscoder) -> None:
    whole = open_pass(tiny_pair, identity, ExampleStore(":memory:", {}))
    seen = list(whole.read(10**6))
    rows = [torch.tensor([int(word[1:]) for word in record["text"].split()])[:32] for record in texts()]
    assert seen[-1] == whole.firing.tokens == sum(len(row) - 1 for row in rows)
    assert whole.examples.documents == 60
    codes = [identity.encode(tiny_pair.residual(row[None], torch.ones_like(row)[None])[0]) for row in rows]
    assert torch.equal(whole.firing.fired, sum((each[1:] > 0).sum(dim=0) for each in codes))
    torch.testing.assert_close(
        whole.firing.mass.float(), sum(each[1:].sum(dim=0) for each in codes), rtol=1e-4, atol=1e-3
    )
    for latent in LATENTS:
        strongest = max(range(60), key=lambda document: float(codes[document][1:, latent].max()))
        position = 1 + int(codes[strongest][1:, latent].argmax())
        example = whole.examples.strongest(latent)[0]
        assert example.score == pytest.approx(float(codes[strongest][position, latent]), rel=1e-4)
        assert example.position == position
        window = slice(max(0, position - 5), position + 3)
        assert list(example.token_ids) == rows[strongest][window].tolist()
        inside = codes[strongest][window, latent].clone()
        inside[0] *= position > 5  # position 0 of a document is masked
        assert list(example.activations) == pytest.approx(inside.tolist(), rel=1e-3, abs=1e-4)


def test_a_pass_that_was_stopped_ends_as_one_that_was_not(
    tiny_pair: ModelPair, identity: Crosscoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_pass(tiny_pair, identity, ExampleStore(":memory:", {}))
    tokens = list(whole.read(900))
    assert 900 <= tokens[-1] < 1100
    monkeypatch.setattr(example_pass, "SAVE_SECONDS", 0.0)
    with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
        stopped = open_pass(tiny_pair, identity, store).read(900)
        assert [next(stopped), next(stopped)] == tokens[:2]  # then no more, and nothing is said to the store
    with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
        resumed = open_pass(tiny_pair, identity, store)
        assert resumed.firing.tokens == tokens[1]
        assert list(resumed.read(900)) == tokens[2:]
        assert_same(resumed, whole)
    with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
        done = open_pass(tiny_pair, identity, store)
        assert list(done.read(900)) == [], "all that was asked for has been read"
        assert_same(done, whole)


def test_asking_for_more_later_is_asking_at_once(tiny_pair: ModelPair, identity: Crosscoder, tmp_path: Path) -> None:
    whole = open_pass(tiny_pair, identity, ExampleStore(":memory:", {}))
    list(whole.read(1200))
    for wanted in (300, 1200):
        with ExampleStore(tmp_path / "examples.sqlite", {}) as store:
            parts = open_pass(tiny_pair, identity, store)
            list(parts.read(wanted))
    assert_same(parts, whole)
