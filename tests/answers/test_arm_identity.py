"""Digests of edits: equal for what does the same, and for nothing else."""

from dataclasses import dataclass

import pytest
import torch

from toolkit.answers.arm_identity import edit_digest
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import shift, subtract
from toolkit.models.model.edits import Change, Edit


def test_an_edit_is_known_by_its_layer_vectors_function_and_positions() -> None:
    vector = torch.arange(4.0)
    edits = [
        shift(1, vector),
        shift(2, vector),
        shift(1, vector + 1e-6),
        shift(1, vector.double()),
        shift(1, vector) + shift(1, vector),
        subtract(1, vector[None], torch.tensor([[True]])),
        subtract(1, vector[None], torch.tensor([[True, False]])),
    ]
    digests = [edit_digest(each) for each in edits]
    assert len(set(digests)) == len(edits)
    assert edit_digest(shift(1, vector.clone())) == digests[0]
    assert edit_digest(None) is None


def test_latents_that_are_set_are_known_by_value_and_weights(tiny_pair, crosscoder) -> None:
    def of(given: Crosscoder, **changes: object) -> str | None:
        return edit_digest(SetLatent(tiny_pair, given, **({"latent": 3, "value": 1.0} | changes)))  # type: ignore[arg-type]

    other = Crosscoder(crosscoder.config)
    found = [of(crosscoder), of(crosscoder, value=2.0), of(crosscoder, latent=4), of(other)]
    assert len(set(found)) == 4
    assert of(crosscoder) == found[0]


def test_an_edit_that_holds_something_unknown_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd(Change):
        what: object = object()

        of_text = at = Edit.at  # type: ignore[assignment]

    with pytest.raises(ValueError, match="an edit holds a object, by which its answers cannot be told from"):
        edit_digest(Odd())
