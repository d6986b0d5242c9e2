"""Arms of a model that follows a script, so that its curve of accuracy is known, and of a random one."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from toolkit.answers.answering import Answerer, Writing
from toolkit.answers.budgets import FORCED_TOKENS
from toolkit.answers.questions import Question
from toolkit.experiments.reasoning_evaluation.measure import measure_arms
from toolkit.interventions.edits import shift
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.places.open_model import open_model
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.models.where import Where

END = "<｜end▁of▁sentence｜>"
THOUGHT, ANSWERED = "Wait. ", "\n</think>\n\nThe answer is"
WRITING = Writing(hesitation_ids=frozenset(), new_tokens=200, temperature=0.0)


class Scripted(TracedModel):
    """Thinks "Wait. " so many times for "What is N plus 5?", then says N; stopped, it does after `enough` of them only.

    Its thinking about `endless` questions is cut by the limit of tokens.
    """

    tokenizer: PreTrainedTokenizerBase = None  # type: ignore[assignment]
    end_ids: torch.Tensor = None  # type: ignore[assignment]

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, enough: int, endless: frozenset[int] = frozenset()
    ) -> None:
        self.tokenizer, self.enough, self.endless = tokenizer, enough, endless
        self.end_ids = torch.tensor([tokenizer.convert_tokens_to_ids(END)])
        self.context, self.asked = 1024, 0

    def thoughts(self, number: int) -> int:
        """How often it thinks, if it is not stopped."""
        return 10 + number

    def generate_each(  # type: ignore[override]
        self, prompts: Sequence[Sequence[int]], *, begun: Sequence[Sequence[int]] = (), sampling: Any, **_: Any
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield the last answers first."""
        for place in reversed(range(len(prompts))):
            self.asked += 1
            (number,) = map(int, re.findall(r"is (\d+) plus", self.tokenizer.decode(prompts[place])))
            if begun:
                said = number if self.tokenizer.decode(begun[place]).count(THOUGHT.strip()) >= self.enough else 99
                text = f" {said}."
            else:
                text = THOUGHT * self.thoughts(number) + f"{ANSWERED} {number}."
            ids = self.tokenizer(text + END, add_special_tokens=False)["input_ids"]
            if not begun and number in self.endless:
                ids = self.tokenizer(THOUGHT * 200, add_special_tokens=False)["input_ids"]
            yield place, ids[: int(sampling.new_tokens)]


def tokens(tokenizer: PreTrainedTokenizerBase, thoughts: int) -> int:
    return len(tokenizer(THOUGHT * thoughts, add_special_tokens=False)["input_ids"])


def test_the_curve_rises_where_enough_was_thought_and_reaches_the_free_answers(organism_tokenizer) -> None:
    model = Scripted(organism_tokenizer, enough=8, endless=frozenset({3}))
    questions = [Question(question=f"What is {number} plus 5?", answer=str(number)) for number in range(12)]
    few, enough, nearly = (tokens(organism_tokenizer, thoughts) for thoughts in (7, 9, 16))
    found = measure_arms({"a": Answerer(model)}, questions, WRITING, budgets=(200, nearly, few, enough))
    arm = found.arms["a"]
    assert [(point.tokens, point.accuracy.value) for point in arm.budget] == [
        (few, 0.0), (enough, 1.0), (nearly, 1.0), (200, 1.0)
    ]  # fmt: skip
    still = [
        sum(each.length > budget or each.question == 3 for each in arm.records) for budget in (few, enough, nearly)
    ]
    assert [point.forced for point in arm.budget] == [*still, 1]
    assert still[0] == still[1] == 12 > still[2] > 1
    assert arm.verdicts == {"right": 11, "wrong": 0, "unanswered": 0, "cut off": 1}
    assert arm.estimates["accuracy"].value == pytest.approx(11 / 12)
    assert arm.estimates["cut_share"].value == pytest.approx(1 / 12)
    assert {each.said for each in arm.forced if each.budget == few} == {"99"}
    assert [(each.question, each.budget) for each in arm.forced] == sorted((e.question, e.budget) for e in arm.forced)
    assert found.generated == model.asked == 12 + sum(still) + 1


def test_what_was_kept_is_neither_asked_again_nor_forced_again(organism_tokenizer, tmp_path: Path) -> None:
    model = Scripted(organism_tokenizer, enough=8)
    questions = [Question(question=f"What is {number} plus 5?", answer=str(number)) for number in range(8)]
    arms, path = {"a": Answerer(model, None, "scripted")}, tmp_path / "answers.jsonl"
    first = measure_arms(arms, questions, WRITING, budgets=(2, 4), kept=path)
    assert first.generated == 3 * 8
    again = measure_arms(arms, questions, WRITING, budgets=(4, 2), kept=path)
    assert (again.generated, again.arms["a"].records, again.arms["a"].forced) == (
        0, first.arms["a"].records, first.arms["a"].forced
    )  # fmt: skip
    more = measure_arms(arms, questions, WRITING, budgets=(2, 3, 4), kept=path)
    assert more.generated == 8
    right = [Question(question=each.question, answer="99") for each in questions]
    regraded = measure_arms(arms, right, WRITING, budgets=(2,), kept=path)
    assert regraded.generated == 0
    assert (first.arms["a"].budget[0].accuracy.value, regraded.arms["a"].budget[0].accuracy.value) == (0, 1)


@pytest.mark.parametrize(("budget", "said"), [(0, "budget 0: must be from 1 to 200"), (201, "budget 201: must be")])
def test_a_budget_out_of_range_is_refused_before_anything_is_asked(organism_tokenizer, budget: int, said: str) -> None:
    model = Scripted(organism_tokenizer, enough=8)
    with pytest.raises(ValueError, match=said):
        measure_arms(
            {"a": Answerer(model)}, [Question(question="What is 1 plus 5?", answer="1")], WRITING, budgets=(budget,)
        )
    assert model.asked == 0


def test_a_context_without_room_for_forced_answers_is_refused_before_anything_is_asked(organism_tokenizer) -> None:
    model = Scripted(organism_tokenizer, enough=8)
    model.context = 240
    with pytest.raises(ValueError, match="context"):
        measure_arms(
            {"a": Answerer(model)}, [Question(question="What is 1 plus 5?", answer="1")], WRITING, budgets=(200,)
        )
    assert model.asked == 0


def test_forced_answers_are_greedy_and_under_the_edit_of_their_arm(pair: ModelPair, tmp_path: Path) -> None:
    questions = [Question(question=f"What is {number} plus 5?", answer="1") for number in (2, 30)]
    edit = shift(1, 4 * torch.randn(16, generator=torch.Generator().manual_seed(0)))
    arms = {"plain": Answerer(pair.distilled, None, "two"), "edited": Answerer(pair.distilled, edit, "two")}
    writing = Writing(hesitation_ids=frozenset(), new_tokens=12, temperature=1.0, samples=2)
    measure_arms(arms, questions, writing, budgets=(4,), kept=tmp_path / "answers.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()[1:]]
    free = {(line["arm"], line["question"], line["sample"]): line for line in lines if line["budget"] is None}
    forced = [line for line in lines if line["budget"] == 4]
    assert len(free) == len(forced) == 8
    for line in forced:
        thought = free[line["arm"], line["question"], line["sample"]]["token_ids"][:4]
        behind = pair.tokenizer(ANSWERED, add_special_tokens=False)["input_ids"]
        prompt = encode(pair.tokenizer, [thinking_prompt(pair.tokenizer, line["question"])])
        how = {"edit": arms[line["arm"]].edit, "sampling": Sampling(new_tokens=FORCED_TOKENS)}
        ((_, expected),) = pair.distilled.generate_each(prompt, begun=[[*thought, *behind]], **how)
        assert line["token_ids"] == expected


def test_on_ndif_the_same_answers_are_kept(
    pair: ModelPair, organism_folders: tuple[str, str], ndif, tmp_path: Path
) -> None:
    hosted = open_model(organism_folders[1], pair.tokenizer, Where(remote=True))
    questions = [Question(question=f"What is {number} plus 5?", answer="1") for number in (2, 30)]
    edit = shift(1, torch.randn(16, generator=torch.Generator().manual_seed(0)))
    writing = Writing(hesitation_ids=frozenset(), new_tokens=6, temperature=1.0)
    kept = {}
    for where, model in (("here", pair.distilled), ("there", hosted)):
        arms = {"plain": Answerer(model, None, "two"), "edited": Answerer(model, edit, "two")}
        found = measure_arms(arms, questions, writing, budgets=(2, 4), kept=tmp_path / where)
        assert found.generated == 12
        kept[where] = sorted((tmp_path / where).read_text().splitlines())
        assert measure_arms(arms, questions, writing, budgets=(2, 4), kept=tmp_path / where).generated == 0
    assert kept["there"] == kept["here"]
    assert len(ndif.jobs_done) > 0
