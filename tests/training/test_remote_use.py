import pytest
import torch
from ndif_server import KEY, NdifServer

from toolkit.formatting import size
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where
from toolkit.training.remote_use import forecast, remote_record, traffic


@pytest.fixture
def open_remote(ndif: NdifServer, folders):
    """Opens the tiny pair on the server."""
    base, distilled = map(str, folders)
    return lambda **settings: ModelPair.from_pretrained(
        base=base, distilled=distilled, layers=[2], where=Where(remote=True, **settings)
    )


def test_models_here_have_no_traffic_and_no_record(tiny_pair: ModelPair) -> None:
    assert traffic(tiny_pair).jobs == 0
    assert remote_record(tiny_pair) == {}


def test_the_record_adds_up_both_models(open_remote, ndif: NdifServer) -> None:
    pair = open_remote(wire="int8")
    ids = torch.arange(24).view(2, 12)
    pair.selected(ids, torch.ones_like(ids), ids > 3)
    record = remote_record(pair)["remote"]
    assert record["jobs"] == 4  # two of them to open the models
    assert record["bytes_sent"] == sum(map(len, ndif.payloads[-4:]))
    assert (record["host"], record["wire"], record["retries"]) == ("127.0.0.1", "int8", 0)
    assert 0 < record["wire_error"] < 1e-3
    assert KEY not in str(record)


@pytest.mark.parametrize(("wire", "coming"), [("fp32", "256 GB"), ("bf16", "128 GB"), ("int8", "72.0 GB")])
def test_the_forecast_is_tokens_by_streams_by_width_by_bytes(open_remote, wire: str, coming: str) -> None:
    line = forecast(open_remote(wire=wire), 10**9, 0.0)
    assert line == f"NDIF at 127.0.0.1: 1.00B tokens × 2 streams × 32 numbers as {wire} are {coming} to receive"


def test_the_time_is_that_of_the_first_batches(open_remote) -> None:
    pair = open_remote(wire="fp32")
    received = traffic(pair).received
    tokens = 3600 * received // (2 * 32 * 4)  # as many bytes as came in 2 seconds, 3600 times
    assert forecast(pair, tokens, 2.0).endswith(f", in 2:00:00 at the rate of the first {size(received)}")
    assert ", in 1:00:00 at" in forecast(pair, tokens, 2.0, processes=2)
