"""The adapter that ships with the project is of the embedded pair, small, and worth what its figures say."""

import json
from dataclasses import replace

import pytest

from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.adapter_training.measure import measure_adapter
from toolkit.settings.adapter_run import EMBEDDED_DEFAULTS, AdapterRunConfig
from toolkit.settings.adapters import SHIPPED_ADAPTER


def test_the_shipped_adapter_is_that_of_the_recipes_defaults() -> None:
    saved = json.loads((SHIPPED_ADAPTER / "config.json").read_text())["run"]
    assert AdapterRunConfig.from_settings(saved).settings() == EMBEDDED_DEFAULTS.settings()
    assert sum(path.stat().st_size for path in SHIPPED_ADAPTER.iterdir()) < 5e6


def test_the_shipped_adapter_brings_back_what_its_figures_say() -> None:
    run = AdapterRun.open(where="cpu")
    text = replace(EMBEDDED_DEFAULTS.text, held_out_documents=24)
    found, figures = (
        measure_adapter(text, run.models, run.corpus),
        json.loads((SHIPPED_ADAPTER / "metrics.json").read_text()),
    )
    assert found.l0.value == pytest.approx(figures["l0"]["value"], rel=0.15)
    assert found.kl_hybrid.value > 10 * found.kl.value
    assert found.recovered.value == pytest.approx(figures["kl_recovered"]["value"], abs=0.01)
