"""The recipe on costs, as a user starts it."""

from collections.abc import Callable

import pytest

Call = Callable[..., str]


def test_a_named_pair_needs_no_network(call: Call):
    said = call("estimate_costs.py", "--pair", "qwen-7b", "--tflops", "400")
    assert "assumed: 400 TFLOP/s" in said
    assert "7.62B and 7.62B parameters, read at the input of layer 14 of 28" in said
    assert "whole models 5,549 191 3.99 30.5" in said
    assert "sweep of 4 5,549 763" in said


def test_ones_own_pair_at_the_rate_of_this_machine(call: Call, organism_folders: tuple[str, str]):
    base, distilled = organism_folders
    said = call("estimate_costs.py", "--base", base, "--distilled", distilled, "--tokens", "100000")
    assert "100k tokens, batchtopk" in said
    assert "measured on" in said
    assert "assumed" not in said


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--pair", "qwen"], ["no pair is called 'qwen'", "qwen-1.5b"]),
        (["--base", "a/b/c"], ["the name of a pair, or both base= and distilled="]),
        (["--tflops", "-1"], ["tflops -1.0", "above 0"]),
        (["--max-memory", "much"], ["max_memory 'much'", "2GB"]),
        (["--tokens", "5"], ["tokens 5 is less than one batch of 2048"]),
    ],
)
def test_bad_input_is_refused(call: Call, arguments: list[str], parts: list[str]):
    said = call("estimate_costs.py", *arguments, code=2)
    assert [part for part in parts if part not in said] == []
