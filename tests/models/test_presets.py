"""The named pairs."""

import pytest

from toolkit.harvest.choices import EMBEDDED, EMBEDDED_NULL
from toolkit.models.presets import PRESETS


def test_the_names_a_user_may_give() -> None:
    hub = {"qwen-1.5b", "qwen-7b", "qwen-14b", "deepscaler-1.5b", "llama-8b"}
    assert set(PRESETS) == {EMBEDDED, EMBEDDED_NULL, *hub}


@pytest.mark.parametrize(("name", "depth"), [("qwen-1.5b", 28), ("qwen-7b", 28), ("qwen-14b", 48), ("llama-8b", 32)])
def test_the_site_is_the_middle_of_the_model(name: str, depth: int) -> None:
    assert PRESETS[name].layers == (depth // 2,)


def test_outputs_of_15_20_25_are_inputs_of_the_layers_after() -> None:
    assert PRESETS["deepscaler-1.5b"].layers == tuple(output + 1 for output in (15, 20, 25))
