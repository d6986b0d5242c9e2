"""Answers of rows that replace each other, against those of one batch and of transformers' own generation."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, Gemma2Config, GPT2Config, MistralConfig, PreTrainedConfig

from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model import traced_model
from toolkit.models.model.edits import Edit
from toolkit.models.model.layers import layers_path
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.where import Where

NEW, ROWS = 14, 4
PROMPTS = [[(7 * row + 3 * place) % 40 for place in range(1 + (5 * row) % 9)] for row in range(22)]
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
SHAPE |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50, "max_position_embeddings": 64}
CONFIGS: dict[str, PreTrainedConfig] = {
    "absolute positions": GPT2Config(n_embd=32, n_layer=4, n_head=4, vocab_size=50, n_positions=64),
    "some windows": Gemma2Config(**SHAPE, sliding_window=5),
    "windows": MistralConfig(**SHAPE, sliding_window=5),
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest, save_model: Callable[..., Path]) -> TracedModel:
    """A model that says other things after other texts, and ends its answers at several lengths."""
    folder = save_model(CONFIGS[request.param])
    made = load_model(str(folder), load_tokenizer(str(folder)), Where(device_map="cpu"))
    with torch.no_grad():
        for parameter in made._module.get_submodule(layers_path(made._module)).parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    made._module.generation_config.eos_token_id = [*range(41, 50), 3, 9]
    return TracedModel(Here(made))


class Passes:
    """The rows of each pass of a model."""

    def __init__(self, model: TracedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        logits = model.logits

        def counted(input_ids: Tensor, *rest: Tensor, **how: object) -> Tensor:
            self.rows.append(len(input_ids))
            return logits(input_ids, *rest, **how)

        monkeypatch.setattr(model, "logits", counted)


def test_rows_that_replace_others_answer_as_transformers_does_alone(
    model: TracedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(model, monkeypatch)
    answers = dict(model.generate_each(PROMPTS, sampling=Sampling(new_tokens=NEW), rows=ROWS))
    assert max(passes.rows) == ROWS
    lengths = [len(answers[number]) for number in range(len(PROMPTS))]
    assert len({*lengths}) > 3
    assert len(passes.rows) < sum(max(lengths[start : start + ROWS]) for start in range(0, len(PROMPTS), ROWS))
    for number in range(0, len(PROMPTS), 3):
        ids = torch.tensor([PROMPTS[number]])
        how = {"eos_token_id": model.end_ids.tolist(), "pad_token_id": 0}
        alone = model.model._module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, **how
        )
        assert answers[number] == alone[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_a_row_keeps_its_edit_and_its_noise_whoever_is_beside_it(model: TracedModel, temperature: float) -> None:
    changes = 5 * torch.randn(len(PROMPTS), 1, model.d_model, generator=torch.Generator().manual_seed(0))
    edit = Edit(layer=1, function=torch.add, operands=(changes,))
    sampling = Sampling(new_tokens=NEW, temperature=temperature, seeds=tuple(n % 5 for n in range(len(PROMPTS))))
    together = model.generate_ids(PROMPTS, edit=edit, sampling=sampling)
    each = dict(model.generate_each(PROMPTS, edit=edit, sampling=sampling, rows=ROWS))
    assert [each[number] for number in range(len(PROMPTS))] == together
    assert together != model.generate_ids(PROMPTS, sampling=sampling)


def test_rows_that_no_cache_can_take_in_wait_until_a_batch_has_ended(
    model: TracedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = dict(model.generate_each(PROMPTS, sampling=Sampling(new_tokens=NEW), rows=ROWS))
    monkeypatch.setattr(traced_model, "row_cache", lambda config: DynamicCache(config=config))
    passes = Passes(model, monkeypatch)
    answers = dict(model.generate_each(PROMPTS, sampling=Sampling(new_tokens=NEW), rows=ROWS))
    assert answers == expected
    lengths = [len(answers[number]) for number in range(len(PROMPTS))]
    assert len(passes.rows) == sum(max(lengths[start : start + ROWS]) for start in range(0, len(PROMPTS), ROWS))


def test_a_caller_may_stop_early_and_read_in_between(model: TracedModel) -> None:
    sampling = Sampling(new_tokens=NEW)
    expected = dict(model.generate_each(PROMPTS, sampling=sampling, rows=ROWS))
    left = model.generate_each(PROMPTS, sampling=sampling, rows=ROWS)
    first = [next(left) for _ in range(3)]
    left.close()
    answers = {}
    for number, ids in model.generate_each(PROMPTS, sampling=sampling, rows=ROWS):
        answers[number] = ids
        model.residual([PROMPTS[number]], layers=1)
    assert answers == expected == expected | dict(first)


def test_what_cannot_be_continued_is_said_before_anything_is_written(model: TracedModel) -> None:
    for wrong, message in (
        ({"begun": [[1]]}, "1 begun answers for 22 prompts"),
        ({"rows": 0}, "rows 0: write at least one answer at a time"),
        ({"begun": [[1] * 60] * len(PROMPTS)}, "exceeds the model's context of 64"),
    ):
        with pytest.raises(ValueError, match=message):
            model.generate_each(PROMPTS, sampling=Sampling(new_tokens=NEW), **wrong)
    with pytest.raises(ValueError, match="a prompt without tokens"):
        model.generate_each([[1], []])
    assert list(model.generate_each([], sampling=Sampling(new_tokens=NEW))) == []
