"""Where weights lie, in transformers' and accelerate's words."""

from pathlib import Path

import pytest
import torch

from toolkit.models.placement import Placement


@pytest.mark.parametrize(
    ("device_map", "devices"),
    [("cpu", ["cpu"]), ("auto", [0, 1, "cpu"]), ("cuda", [0, "cpu"]), ("cuda:1", [1, "cpu"])],
)
def test_a_limit_holds_on_every_device_that_weights_may_stay_on(
    device_map: str, devices: list[int | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    options = Placement(device_map=device_map, max_memory="2GB").options()
    assert options["device_map"] == "auto"
    assert options["max_memory"] == dict.fromkeys(devices, 2 * 10**9)
    assert list(options["max_memory"]) == devices  # accelerate fills them in this order


def test_without_a_limit_the_device_is_as_it_was_named() -> None:
    options = Placement(device_map="cuda:1", offload_folder=Path("away")).options()
    assert (options["device_map"], options["offload_folder"]) == ("cuda:1", "away")
    assert "max_memory" not in options


def test_a_cpu_computes_in_single_precision_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu, wanted in ((False, torch.float32), (True, "auto")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert Placement().options()["dtype"] == wanted
        assert Placement(device_map="cpu").options()["dtype"] == torch.float32
        assert Placement(dtype="bfloat16").options()["dtype"] == "bfloat16"


def test_another_device_for_one_model() -> None:
    placement = Placement(device_map="cpu", max_memory="2GB")
    assert placement.on(None) == placement
    assert placement.on("cuda:1") == Placement(device_map="cuda:1", max_memory="2GB")


@pytest.mark.parametrize("size", ["", "2", "GB", "-2GB", "0GB", "two GB"])
def test_a_limit_that_is_no_size(size: str) -> None:
    with pytest.raises(ValueError, match=r"is no size above 0: give one such as 2GB or 500MiB"):
        Placement(max_memory=size)
