"""Where weights lie, in transformers' and accelerate's words."""

from pathlib import Path

import pytest
import torch

from toolkit.models.places.here import loading_options, weights_dtype
from toolkit.models.where import Where


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("device_map", "devices"),
    [("cpu", ["cpu"]), ("auto", [0, 1, "cpu"]), ("cuda", [0, "cpu"]), ("cuda:1", [1, "cpu"])],
)
def test_a_limit_holds_on_every_device_that_weights_may_stay_on(
    device_map: str, devices: list[int | str], gpus: None
) -> None:
    options = loading_options(Where(device_map=device_map, max_memory="2GB"))
    assert options["device_map"] == "auto"
    assert options["max_memory"] == dict.fromkeys(devices, 2 * 10**9)
    assert list(options["max_memory"]) == devices  # accelerate fills them in this order


def test_without_a_limit_the_device_is_as_it_was_named(gpus: None) -> None:
    options = loading_options(Where(device_map="cuda:1", offload_folder=Path("away")))
    assert (options["device_map"], options["offload_folder"]) == ("cuda:1", "away")
    assert "max_memory" not in options


def test_a_cpu_computes_in_single_precision_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu, wanted in ((False, torch.float32), (True, "auto")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
        assert weights_dtype(Where()) == wanted
        assert weights_dtype(Where(device_map="cpu")) == torch.float32
        assert weights_dtype(Where(dtype="bfloat16")) == torch.bfloat16


@pytest.mark.parametrize("size", ["", "2", "GB", "-2GB", "0GB", "two GB"])
def test_a_limit_that_is_no_size(size: str) -> None:
    with pytest.raises(ValueError, match=r"is no size above 0: give one such as 2GB or 500MiB"):
        loading_options(Where(max_memory=size))


def test_each_device_may_have_a_limit_of_its_own(gpus: None) -> None:
    options = loading_options(Where(max_memory={0: "2GB", "cpu": 500}))
    assert options["max_memory"] == {0: 2 * 10**9, "cpu": 500}
    with pytest.raises(ValueError, match="max_memory 'much' is no size"):
        loading_options(Where(max_memory={"cpu": "much"}))
    with pytest.raises(ValueError, match="device '2' is not there"):
        loading_options(Where(max_memory={2: "2GB"}))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bf16", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        (torch.bfloat16, torch.bfloat16),
        ("torch.bfloat16", torch.bfloat16),
        ("half", torch.float16),
        ("float", torch.float32),
        ("fp32", torch.float32),
    ],
)
def test_a_type_goes_by_its_usual_names(name: str | torch.dtype, dtype: torch.dtype) -> None:
    assert weights_dtype(Where(dtype=name)) == dtype


@pytest.mark.parametrize("name", ["bf17", "int8", "", "nn", torch.int64])
def test_what_is_no_type_of_weights_is_refused(name: str | torch.dtype) -> None:
    with pytest.raises(ValueError, match="is no floating-point type: give float32, bfloat16 or float16"):
        loading_options(Where(dtype=name))


@pytest.mark.parametrize("name", ["cuda", "cuda:7", 0, "mps", "xpu", torch.device("cuda:1")])
def test_a_device_that_is_not_there_is_refused(name: str | int | torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with pytest.raises(ValueError, match=r"device '.*' is not there: this machine has cpu$"):
        loading_options(Where(device_map=name))


def test_devices_beyond_those_there_and_nonsense_are_refused(gpus: None) -> None:
    assert loading_options(Where(device_map="cuda:1"))["device_map"] == "cuda:1"
    with pytest.raises(ValueError, match="device 'cuda:2' is not there: this machine has cpu, cuda:0, cuda:1"):
        loading_options(Where(device_map="cuda:2"))
    with pytest.raises(ValueError, match="device 'gpu' is not known: give auto, cpu, cuda or cuda:1"):
        loading_options(Where(device_map="gpu"))
