from dataclasses import replace

import pretended_device
import pytest
import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.precision import multiplying_in, resolved
from toolkit.dictionaries.training import CrosscoderTrainer

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
AUTO = TrainingConfig()
SWITCH = torch.backends.cuda.matmul


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    """Make this machine one with a GPU of the compute capability that the test calls it with."""

    def pretend(*capability: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.version, "cuda", "13.0")

    return pretend


def test_auto_is_fp32_on_a_cpu_and_bf16_on_an_accelerator():
    assert resolved(AUTO, CPU).precision == "fp32"
    assert resolved(AUTO, pretended_device.AWAY).precision == "bf16"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")])
def test_auto_is_bf16_on_gpus_that_compute_it(gpu, capability, precision):
    gpu(*capability)
    assert resolved(AUTO, GPU).precision == precision


@pytest.mark.parametrize("device", [CPU, pretended_device.AWAY])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_by_name_stands_on_every_device(device, precision):
    asked = replace(AUTO, precision=precision)
    assert resolved(asked, device) == asked


def test_tf32_stands_on_a_gpu_that_has_it_and_is_refused_elsewhere(gpu):
    asked = replace(AUTO, precision="tf32")
    refusal = r"precision tf32: the device {} has no TF32, as NVIDIA GPUs of compute .* 8\.0 and more have: give fp32"
    with pytest.raises(ValueError, match=refusal.format("cpu")):
        resolved(asked, CPU)
    gpu(7, 5)
    with pytest.raises(ValueError, match=refusal.format("cuda:0")):
        resolved(asked, GPU)
    gpu(9, 0)
    assert resolved(asked, GPU) == asked


@pytest.fixture(params=["untouched", "its old interface", "its new interface"])
def switched(request: pytest.FixtureRequest):
    """torch's switch of TF32 as others left it, by either interface."""
    before = SWITCH.fp32_precision
    if request.param == "its old interface":
        torch.set_float32_matmul_precision("high")
    elif request.param == "its new interface":
        SWITCH.fp32_precision = "tf32"
    yield SWITCH.fp32_precision
    torch.set_float32_matmul_precision("highest")
    SWITCH.fp32_precision = before


@pytest.mark.parametrize(("precision", "inside"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_the_switch_of_tf32_is_put_back_as_it_was(switched, precision, inside):
    with multiplying_in(precision):
        assert SWITCH.fp32_precision == inside
    assert SWITCH.fp32_precision == switched
    with pytest.raises(KeyError), multiplying_in(precision):
        raise KeyError
    assert SWITCH.fp32_precision == switched


@pytest.mark.parametrize(("precision", "inside"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_a_step_takes_tf32_only_where_it_was_asked_for(switched, gpu, monkeypatch, precision, inside):
    monkeypatch.setattr("toolkit.dictionaries.precision._has_tf32", lambda device: True)
    training = TrainingConfig(n_latents=24, k=4, tokens=64, batch_tokens=64, precision=precision)
    x = torch.randn(64, 2, 8, generator=torch.Generator().manual_seed(0))
    state = initialise(training, 2, x, torch.Generator().manual_seed(0))
    trainer = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))
    found = []

    def run_pass(batch):
        found.append(SWITCH.fp32_precision)
        return rule.run_pass(batch)

    rule = trainer._rule
    trainer._rule = replace(rule, run_pass=run_pass)
    trainer.step(x)
    assert found == [inside]
    assert SWITCH.fp32_precision == switched
