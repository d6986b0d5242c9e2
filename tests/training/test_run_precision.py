import json
from dataclasses import replace
from pathlib import Path

import pretended_device
import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import RunOutput
from toolkit.training.run_precision import with_precision

AUTO = TrainingConfig()


def begun(folder: Path, precision: str) -> RunOutput:
    """The output of a run that goes on, and began in this precision."""
    (folder / "config.json").write_text(json.dumps({"run": {"training": {"precision": precision}}}))
    return RunOutput(out=folder, resume=True)


def test_a_new_run_takes_what_suits_the_device_that_it_trains_on(tmp_path: Path) -> None:
    output, there = RunOutput(out=tmp_path), pretended_device.AWAY
    assert with_precision(AUTO, Where(device_map="cpu"), output).precision == "fp32"
    with pretended_device.present():
        assert with_precision(AUTO, Where(), output).precision == "bf16"
        assert with_precision(AUTO, Where(remote=True), output).precision == "bf16"
        assert with_precision(AUTO, Where(base_device=there, distilled_device="cpu"), output).precision == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_goes_on_as_it_began_on_any_device(tmp_path: Path, precision: str) -> None:
    output = begun(tmp_path, precision)
    with pretended_device.present():
        for place in ("cpu", pretended_device.AWAY):
            assert with_precision(AUTO, Where(device_map=place), output).precision == precision
    assert with_precision(AUTO, Where(device_map="cpu"), replace(output, resume=False)).precision == "fp32"


def test_what_is_asked_for_by_name_stands_for_the_run_to_refuse(tmp_path: Path) -> None:
    asked = replace(AUTO, precision="bf16")
    assert with_precision(asked, Where(device_map="cpu"), begun(tmp_path, "fp32")) == asked


def test_a_run_in_tf32_does_not_go_on_without_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision tf32: the device cpu has no TF32"):
        with_precision(AUTO, Where(device_map="cpu"), begun(tmp_path, "tf32"))


def test_kernels_that_cannot_run_there_are_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="kernels triton: "):
        with_precision(replace(AUTO, kernels="triton"), Where(device_map="cpu"), RunOutput(out=tmp_path))
