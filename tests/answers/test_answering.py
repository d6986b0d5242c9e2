"""Answers of several models and edits: each against generation on its own, scores against the answers themselves."""

from dataclasses import replace

import pytest
import torch

from toolkit.answers import answering
from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, answer_each, free_rows, marks_of
from toolkit.answers.questions import Question
from toolkit.interventions.edits import shift
from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.places.open_model import open_model
from toolkit.models.text.chat import CLOSING, thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.models.where import Where

QUESTIONS = [
    Question(question="What is 17 plus 5?", answer=None),
    Question(question="2+2?", answer="4"),
]  # not by length
WRITING = Writing(hesitation_ids=frozenset(range(0, 2000, 3)), new_tokens=12, samples=3, seed=2)


@pytest.fixture(scope="module")
def model(organism_folders) -> TracedModel:
    return TracedModel(
        Here(load_model(organism_folders[1], load_tokenizer(organism_folders[1]), Where(device_map="cpu")))
    )


@pytest.fixture(scope="module")
def shifts(model) -> torch.Tensor:
    """Nothing, a direction, and nothing again."""
    direction = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    return torch.stack([0 * direction, 5 * direction, 0 * direction])


def under(model: TracedModel, shifts: torch.Tensor, writing: Writing = WRITING) -> Answers:
    return answer_each([Answerer(model, shift(1, each)) for each in shifts], QUESTIONS, writing)


def alone(model: TracedModel, change: torch.Tensor, question: int, sample: int, writing: Writing) -> list[int]:
    prompt = encode(model.tokenizer, [thinking_prompt(model.tokenizer, QUESTIONS[question].question)])
    sampling = Sampling(
        new_tokens=writing.new_tokens,
        temperature=writing.temperature,
        seeds=(writing.seed_of(question, sample),),
        edit_prompt=writing.edit_prompt,
    )
    return model.generate_ids(prompt, edit=shift(1, change[None]), sampling=sampling)[0]


@pytest.mark.parametrize("changes", [{}, {"edit_prompt": True}, {"temperature": 0.0, "samples": 1}])
def test_answers_are_those_of_each_arm_question_and_sample_alone(model, shifts, changes):
    writing = replace(WRITING, **changes)
    answers = under(model, shifts, writing)
    closing = model.tokenizer(CLOSING, add_special_tokens=False)["input_ids"]
    assert len(closing) == 1
    for arm, change in enumerate(shifts):
        for question in range(2):
            rows = [alone(model, change, question, sample, writing) for sample in range(writing.samples)]
            lengths = [float(row.index(closing[0]) if closing[0] in row else len(row)) for row in rows]
            hesitation = [1000 * sum(token % 3 == 0 for token in row) / len(row) for row in rows]
            assert answers.texts[arm][question] == model.tokenizer.decode(rows[0])
            assert answers.length[arm, question] == pytest.approx(sum(lengths) / len(rows))
            assert answers.hesitation[arm, question] == pytest.approx(sum(hesitation) / len(rows))
            logs = torch.tensor(lengths).clamp(min=1).log().mean()
            assert answers.log_length[arm, question] == pytest.approx(float(logs), rel=1e-5)
            finished = [row[-1] in model.end_ids.tolist() for row in rows]
            assert answers.finished[arm, question] == pytest.approx(sum(finished) / len(rows))
    assert answers.texts[0] == answers.texts[2] != answers.texts[1]
    assert answers.correct[:, 0].isnan().all()
    assert not answers.correct[:, 1].any()


def test_batches_do_not_matter(model, shifts, monkeypatch):
    whole = under(model, shifts)
    monkeypatch.setattr(answering, "ROWS", 4)
    parts = under(model, shifts)
    assert parts.texts == whole.texts
    assert torch.equal(parts.hesitation, whole.hesitation)


def test_arms_are_models_with_edits_or_without_of_any_kind(model, shifts):
    other = TracedModel(model.place)
    small = shifts[1] / 20
    edits = [shift(1, small), None, shift(1, small) + shift(2, -4 * small), shift(2, -small)]
    arms = [*(Answerer(model, edit) for edit in edits), Answerer(other)]
    answers = answer_each(arms, QUESTIONS, WRITING)
    for number, arm in enumerate(arms):
        assert answers.arms([number]).texts == answer_each([arm], QUESTIONS, WRITING).texts
    assert answers.texts[1] == answers.texts[4] == under(model, shifts).texts[0]
    assert len({str(texts) for texts in answers.texts}) == 4
    joined = answers.arms([0]).beside(answers.arms([1, 2, 3, 4]))
    assert joined.texts == answers.texts
    assert torch.equal(joined.log_length, answers.log_length)


def test_arms_of_one_model_share_batches(model, shifts, monkeypatch):
    batches = []
    generate = TracedModel.generate_each
    monkeypatch.setattr(
        TracedModel,
        "generate_each",
        lambda self, asked, **how: batches.append(len(asked)) or generate(self, asked, **how),
    )
    under(model, shifts)
    assert batches == [len(shifts) * len(QUESTIONS) * WRITING.samples]


def test_on_ndif_the_answers_are_the_same(model, shifts, ndif, organism_folders):
    hosted = open_model(organism_folders[1], model.tokenizer, Where(remote=True))
    here, there = (under(each, shifts) for each in (model, hosted))
    assert there.texts == here.texts
    for name in ("length", "log_length", "hesitation", "finished"):
        assert torch.equal(getattr(there, name), getattr(here, name))
    assert len(ndif.jobs_done) > 0


def test_seeds_differ_by_question_sample_and_study():
    seeds = {
        replace(WRITING, seed=seed).seed_of(question, sample)
        for seed in range(3)
        for question in range(5)
        for sample in range(3)
    }
    assert len(seeds) == 45
    assert replace(WRITING, samples=9).seed_of(1, 2) == WRITING.seed_of(1, 2)  # more samples leave the others


def test_the_slope_is_that_of_least_squares():
    generator = torch.Generator().manual_seed(0)
    strengths = (-0.3, -0.1, 0.05, 0.2)
    log_length = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    other = torch.zeros(4, 5, dtype=torch.float64)
    answers = Answers(
        texts=[["a"] * 5] * 4, length=log_length.exp(), log_length=log_length, hesitation=other, finished=other,
        correct=other,
    )  # fmt: skip
    design = torch.stack([torch.tensor(strengths, dtype=torch.float64), torch.ones(4, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(answers.slope(strengths), torch.linalg.lstsq(design, log_length).solution[0])
    some = answers.arms([2, 1])
    assert torch.equal(some.log_length, log_length[[2, 1]])
    assert len(some.texts) == 2


def test_an_arm_that_is_asked_plainly_has_a_prompt_of_its_own_and_its_text_is_all_answer(model):
    arms = {"thinks": Answerer(model), "plain": Answerer(model, plainly=True)}
    question = Question(question="What is 5+4?", answer="9")
    prompts = {row.arm: model.tokenizer.decode(row.prompt) for row in free_rows(arms, [question], WRITING)}
    assert prompts["thinks"].endswith("<think>\n")
    assert prompts["plain"].endswith("Question: What is 5+4?\nSolution:")
    assert marks_of(arms["thinks"], frozenset()).closing
    assert not marks_of(arms["plain"], frozenset()).closing
