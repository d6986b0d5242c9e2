"""The base model's answers: with the others' prompts where ids mean the same to it, else with its own."""

from pathlib import Path

import pytest

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question
from toolkit.dictionaries.adapter_storage import load_adapter
from toolkit.experiments.adapter_evaluation.answers import answer_base
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where

QUESTIONS = [Question(question=f"What is {i}+{i}?", answer=None) for i in range(3)]
WRITING = Writing(hesitation_ids=frozenset({5}), new_tokens=8, temperature=0.0)
CPU = Where(device_map="cpu")


def test_the_base_model_answers_as_it_does_alone(models: tuple[str, str], save) -> None:
    adapted = AdaptedModel.from_pretrained(base=models[0], distilled=models[1], adapter=load_adapter(save()))
    found, alike = answer_base(adapted, QUESTIONS, WRITING, CPU)
    base = ModelPair.from_pretrained(base=models[0], distilled=models[1], where="cpu").base
    assert alike
    assert found.texts == answer_each([Answerer(base)], QUESTIONS, WRITING).texts


def test_a_base_model_to_which_ids_mean_other_things_is_asked_by_its_own_tokenizer(
    models: tuple[str, str], save, tmp_path: Path
) -> None:
    for file in Path(models[0]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    own = load_tokenizer(models[0])
    own.chat_template = None
    own.add_special_tokens({"additional_special_tokens": ["<other>"]})
    own.save_pretrained(tmp_path)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<think>", "<ponder>"))
    with pytest.warns(UserWarning, match="ids mean different things to the models: 1607"):
        adapted = AdaptedModel.from_pretrained(
            base=str(tmp_path), distilled=models[1], adapter=load_adapter(save()), other_models=True
        )
    _, alike = answer_base(adapted, QUESTIONS, WRITING, CPU)
    assert not alike
