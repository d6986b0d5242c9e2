"""What the tests' own server shows holds on a server of NDIF's: `NDIF_HOST=... NDIF_API_KEY=... pytest -m ndif`."""

import os

import pytest
import torch

from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.pair import ModelPair
from toolkit.models.presets import find_pair
from toolkit.models.where import Where

pytestmark = [
    pytest.mark.ndif,
    pytest.mark.skipif("NDIF_HOST" not in os.environ, reason="NDIF_HOST names no server"),
]


@pytest.fixture(scope="module")
def local() -> ModelPair:
    """The embedded pair, read here."""
    return ModelPair.from_pretrained("organism", where=Where(dtype="float32", device_map="cpu"))


@pytest.mark.parametrize(("wire", "largest"), [("fp32", 1e-10), ("bf16", 1e-5), ("int8", 1e-3)])
def test_ndif_reads_what_is_read_here(local: ModelPair, wire: str, largest: float) -> None:
    remote = ModelPair.from_pretrained("organism", where=Where(remote=True, wire=wire, deadline=120.0))
    tokenizer = load_tokenizer(find_pair("organism", None, None).distilled)
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(6):
        ids = torch.randint(len(tokenizer) // 2, (4, 64), generator=generator)
        batches.append((ids, torch.ones_like(ids), torch.rand(4, 64, generator=generator) > 0.2))
    reads = (pair.selected_each(enumerate(batches)) for pair in (remote, local))
    for (number, read), (same, expected) in zip(*reads, strict=True):
        assert number == same
        error = (read.float() - expected).square().sum() / expected.square().sum()
        assert error <= largest
        if wire == "fp32":
            torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-5)


def test_ndif_reads_all_positions_and_logits_as_here(local: ModelPair) -> None:
    remote = ModelPair.from_pretrained("organism", where=Where(remote=True, deadline=120.0))
    ids = torch.randint(100, (2, 16), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    torch.testing.assert_close(remote.residual(ids, mask), local.residual(ids, mask), rtol=1e-5, atol=1e-5)
    for name in ("base", "distilled"):
        there, here = (getattr(pair, name).logits(ids, mask) for pair in (remote, local))
        torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-4)
