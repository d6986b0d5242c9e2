"""Generation against transformers' own, and against full passes without a cache and with a plain hook."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
from ndif_server import KEY, NdifServer
from torch import Tensor
from transformers import AutoModelForCausalLM, Cache, DynamicCache, Gemma2Config, PreTrainedModel

from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.generation import write_each
from toolkit.models.model.generation_request import Request
from toolkit.models.model.layers import layers_path
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.step import Step
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.places.ndif.ndif import Ndif
from toolkit.models.places.open_model import open_model
from toolkit.models.where import Where

PROMPTS = [[5, 9, 2, 31, 17, 8], [3], [12, 12, 30], [22, 1, 7, 19]]
NEW = 10
END = 41


def varied(folder: Path, to: Path) -> Path:
    """The model with layers ten times as strong: what it says next depends on all that was said."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.get_submodule(layers_path(model)).parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    model.save_pretrained(to)
    load_tokenizer(str(folder)).save_pretrained(to)
    return to


def trace(folder: Path) -> TracedModel:
    return TracedModel(Here(load_model(str(folder), load_tokenizer(str(folder)), Where(device_map="cpu"))))


@pytest.fixture(scope="module")
def any_varied(any_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied(any_folder, tmp_path_factory.mktemp("varied"))


@pytest.fixture(scope="module")
def any_model(any_varied: Path) -> TracedModel:
    return trace(any_varied)


@pytest.fixture(scope="module")
def any_truth(any_varied: Path) -> PreTrainedModel:
    """The same model in the hands of transformers alone."""
    return AutoModelForCausalLM.from_pretrained(any_varied).eval()


@pytest.fixture(scope="module")
def model(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> TracedModel:
    return trace(varied(folders[0], tmp_path_factory.mktemp("varied")))


def greedy(model: PreTrainedModel, prompts: list[list[int]], end_ids: list[int]) -> list[list[int]]:
    """transformers' own greedy generation of rows padded on the left, each cut after its end."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
    written = model.generate(
        ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, eos_token_id=end_ids, pad_token_id=0
    )[:, longest:].tolist()
    ends = [next((i + 1 for i, token in enumerate(row) if token in end_ids), NEW) for row in written]
    return [row[:end] for row, end in zip(written, ends, strict=True)]


def recomputed(model: PreTrainedModel, prompt: list[int], change: Tensor, first: int) -> list[int]:
    """Greedy tokens of one prompt alone, every pass from its start, with `change` added at layer 2 from `first` on."""

    def add(module, args, kwargs):
        residual = (args[0] if args else kwargs["hidden_states"]).clone()
        residual[:, first:] += change
        return ((residual, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": residual})

    layer = model.get_submodule(f"{layers_path(model)}.2")
    ids = list(prompt)
    with torch.no_grad(), layer.register_forward_pre_hook(add, with_kwargs=True):
        while len(ids) < len(prompt) + NEW and END not in ids:
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_greedy_answers_are_transformers_own_and_rows_leave_when_they_end(
    any_model: TracedModel, any_truth: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any_model.tokenizer.eos_token_id == END
    whole = greedy(any_truth, PROMPTS, [END])
    assert any_model.generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW)) == whole
    ends = {token: len({(row.index(token) if token in row else NEW) for row in whole}) for token in {*chain(*whole)}}
    end = max(ends, key=ends.get)
    assert ends[end] >= 2
    monkeypatch.setattr(any_model.model._module.generation_config, "eos_token_id", [end, END])
    assert any_model.end_ids.tolist() == sorted([end, END])
    answers = any_model.generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW))
    assert answers == greedy(any_truth, PROMPTS, [end, END])
    assert len({len(answer) for answer in answers}) >= 2


@pytest.mark.parametrize("edit_prompt", [False, True])
def test_edited_answers_are_those_of_full_passes_under_a_hook(
    any_model: TracedModel, any_truth: PreTrainedModel, edit_prompt: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    changes = 20 * torch.randn(len(PROMPTS), 1, any_model.d_model, generator=generator)
    edit = Edit(layer=2, function=torch.add, operands=(changes,))
    answers = any_model.generate_ids(PROMPTS, edit=edit, sampling=Sampling(new_tokens=NEW, edit_prompt=edit_prompt))
    for prompt, change, answer in zip(PROMPTS, changes, answers, strict=True):
        assert answer == recomputed(any_truth, prompt, change, 0 if edit_prompt else len(prompt))
    assert answers != any_model.generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW))


def test_rows_that_leave_take_their_edits_along(model: TracedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = 20 * torch.randn(4, 1, model.d_model, generator=torch.Generator().manual_seed(3))
    whole = model.generate_ids(PROMPTS, edit=_add(changes), sampling=Sampling(new_tokens=NEW))
    end = next(token for token in whole[0][1:] if any(token not in row for row in whole[1:]))
    monkeypatch.setattr(model.model._module.generation_config, "eos_token_id", end)
    answers = model.generate_ids(PROMPTS, edit=_add(changes), sampling=Sampling(new_tokens=NEW))
    assert len(answers[0]) < NEW == max(map(len, answers))
    for answer, unended in zip(answers, whole, strict=True):
        assert answer == (unended[: unended.index(end) + 1] if end in unended else unended)


def test_what_was_read_decides_an_edit_that_is_made_at_each_step(
    any_model: TracedModel, any_truth: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = 20 * torch.randn(1, 1, any_model.d_model, generator=torch.Generator().manual_seed(1))
    steps: list[Step] = []

    class OfThirdRow(Change):
        def of_text(self, input_ids: Tensor, attention_mask: Tensor) -> Edit:
            raise NotImplementedError

        def at(self, step: Step) -> Edit:
            steps.append(step)
            return _add(change * (step.rows == 2)[:, None, None])

    whole = greedy(any_truth, PROMPTS, [END])
    monkeypatch.setattr(any_model.model._module.generation_config, "eos_token_id", whole[0][3])
    answers = any_model.generate_ids(PROMPTS, edit=OfThirdRow(), sampling=Sampling(new_tokens=NEW))
    expected = recomputed(any_truth, PROMPTS[2], change[0], len(PROMPTS[2]))
    assert answers[2] == expected[: len(answers[2])]
    assert answers[0] == whole[0][: whole[0].index(whole[0][3]) + 1]
    assert steps[0].rows.tolist() == [0, 1, 2, 3]
    for number, step in enumerate(steps[1:], start=1):
        assert step.attention_mask.sum(dim=1).tolist() == [len(PROMPTS[row]) + number for row in step.rows]
        assert step.input_ids.tolist() == [[answers[row][number - 1]] for row in step.rows]


def test_a_window_that_the_answer_outgrows(
    save_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50, "max_position_embeddings": 64}
    folder = varied(save_model(Gemma2Config(**shape, sliding_window=5)), tmp_path_factory.mktemp("window"))
    truth = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert trace(folder).generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW)) == greedy(truth, PROMPTS, [END])


def _add(changes: Tensor) -> Edit:
    return Edit(layer=2, function=torch.add, operands=(changes,))


def test_a_seed_means_the_same_in_every_batch_and_arm(model: TracedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.model._module.generation_config, "eos_token_id", 7)  # rows leave at different times

    def sample(prompts: list[list[int]], *seeds: int, edit: Edit | None = None) -> list[list[int]]:
        return model.generate_ids(
            prompts, edit=edit, sampling=Sampling(new_tokens=NEW, temperature=1.5, seeds=tuple(seeds))
        )

    together = sample(PROMPTS, 11, 12, 13, 14)
    alone = [sample([prompt], seed)[0] for prompt, seed in zip(PROMPTS, (11, 12, 13, 14), strict=True)]
    assert together == alone
    assert sample([*PROMPTS[::-1], *PROMPTS], 14, 13, 12, 11, 11, 12, 13, 14) == [*together[::-1], *together]
    changes = torch.cat([torch.zeros(4, 1, model.d_model), 20 * torch.ones(4, 1, model.d_model)])
    arms = sample(PROMPTS * 2, *(11, 12, 13, 14) * 2, edit=_add(changes))
    assert arms[:4] == together
    assert [a[0] for a in arms[4:]] == [a[0] for a in together]  # the first token is drawn before the edit acts
    assert arms[4:] != together
    assert sample([PROMPTS[0]] * 2, 1, 2)[0] != sample([PROMPTS[0]] * 2, 1, 2)[1]
    assert sample([PROMPTS[0]] * 2, 5, 5)[0] == sample([PROMPTS[0]] * 2, 5, 5)[1]


def test_without_seeds_a_row_s_number_is_its_seed(model: TracedModel) -> None:
    numbered = Sampling(new_tokens=NEW, temperature=1.0, seeds=(0, 1, 2, 3))
    by_default = Sampling(new_tokens=NEW, temperature=1.0)
    assert model.generate_ids(PROMPTS, sampling=by_default) == model.generate_ids(PROMPTS, sampling=numbered)


@pytest.mark.parametrize("by", ["seed", "step"])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_draws_follow_the_softmax(by: str, temperature: float) -> None:
    draws = 2000
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5, -3.0])
    expected = draws * (logits / temperature).softmax(dim=0)

    class Constant:
        def empty_cache(self) -> Cache:
            return DynamicCache()

        def logits(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> Tensor:
            return logits.expand(len(input_ids), 1, -1)

    prompts, new_tokens = ([[1]] * draws, 1) if by == "seed" else ([[1]] * 10, draws // 10)
    sampling = Sampling(new_tokens=new_tokens, temperature=temperature)
    nowhere = torch.tensor([], dtype=torch.long)
    answers = write_each(Constant(), Request(prompts=prompts, sampling=sampling, end_ids=nowhere), rows=draws)
    counts = torch.bincount(torch.tensor([ids for _, ids in answers]).flatten(), minlength=5)
    assert ((counts - expected).square() / expected).sum() < 18.5  # chi-square of 4 degrees: 1 in 1,000 is above


def test_text_comes_back_as_text(model: TracedModel) -> None:
    prompts = ["w5 w9 w2 w31 w17 w8", "w3"]
    ids = model.generate_ids(PROMPTS[:2], sampling=Sampling(new_tokens=NEW))
    several = model.generate(prompts, sampling=Sampling(new_tokens=NEW))
    assert several == model.tokenizer.batch_decode(ids)
    assert model.generate(prompts[1], sampling=Sampling(new_tokens=NEW)) == several[1]


def test_prompts_come_as_ids_with_a_mask_and_as_messages(model: TracedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, sampling = ["w5 w9 w2", "w3"], Sampling(new_tokens=NEW)
    expected = model.generate(texts, sampling=sampling)
    for side in ("left", "right"):
        returned = model.tokenizer(texts, padding=True, padding_side=side, return_tensors="pt")
        assert model.generate(returned, sampling=sampling) == expected
        assert (
            model.generate(returned["input_ids"], attention_mask=returned["attention_mask"], sampling=sampling)
            == expected
        )
    assert model.generate(model.tokenizer(texts[1]), sampling=sampling) == expected[1:]
    monkeypatch.setattr(
        model.tokenizer,
        "chat_template",
        "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}w2{% endif %}",
    )
    question = [{"role": "user", "content": "w5 w9"}]
    assert model.generate(question, sampling=sampling) == expected[0]
    assert model.generate([question, question], sampling=sampling) == expected[:1] * 2


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_no_token_is_drawn_from_logits_that_are_not_numbers(model: TracedModel, temperature: float) -> None:
    change = torch.zeros(4, 1, model.d_model)
    change[2] = float("nan")
    with pytest.raises(ValueError, match=r"logits hold NaN.*make the edit smaller, or load the model with --dtype"):
        model.generate_ids(PROMPTS, edit=_add(change), sampling=Sampling(new_tokens=NEW, temperature=temperature))


def test_what_cannot_be_generated_is_said(model: TracedModel) -> None:
    with pytest.raises(ValueError, match=r"prompt of 60 tokens with 10 new ones exceeds the model's context of 64"):
        model.generate_ids([[1] * 60, [2]], sampling=Sampling(new_tokens=NEW))
    with pytest.raises(ValueError, match="2 seeds for 4 prompts"):
        model.generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW, seeds=(1, 2)))
    edit = Edit(layer=2, function=torch.clone, positions=torch.ones(4, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="edit of chosen positions cannot steer"):
        model.generate_ids(PROMPTS, edit=edit, sampling=Sampling(new_tokens=NEW))
    beyond, prompted = Edit(layer=4, function=torch.clone), Sampling(new_tokens=NEW, edit_prompt=True)
    with pytest.raises(ValueError, match="layer 4 is out of range"):
        model.generate_ids(PROMPTS, edit=beyond, sampling=prompted)
    with pytest.raises(ValueError, match="a text without tokens"):
        model.generate("")
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"must be 0 \(greedy\) or above"):
            Sampling(temperature=bad)
    with pytest.raises(ValueError, match="new_tokens 0: must be at least 1"):
        Sampling(new_tokens=0)


@pytest.fixture(scope="module")
def any_server(any_varied: Path) -> Iterator[NdifServer]:
    server = NdifServer([str(any_varied)])
    yield server
    server.stop()


@pytest.fixture
def any_hosted(any_server: NdifServer, any_varied: Path, monkeypatch: pytest.MonkeyPatch) -> TracedModel:
    """The same model, on a server."""
    monkeypatch.setenv("NDIF_HOST", any_server.url)
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    return open_model(str(any_varied), load_tokenizer(str(any_varied)), Where(remote=True))


@pytest.mark.parametrize(("temperature", "edit_prompt"), [(0.0, True), (1.5, False)])
def test_on_ndif_answers_are_the_same_token_for_token_in_one_job(
    any_model: TracedModel,
    any_hosted: TracedModel,
    any_server: NdifServer,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
    edit_prompt: bool,
) -> None:
    sampling = Sampling(new_tokens=NEW, temperature=temperature, edit_prompt=edit_prompt, seeds=(7, 8, 7, 9))
    edit = _add(20 * torch.randn(4, 1, any_model.d_model, generator=torch.Generator().manual_seed(3)))
    whole = any_model.generate_ids(PROMPTS, edit=edit, sampling=sampling)
    for ends in (
        [END],
        [END, whole[0][3]],
        sorted({row[:5][-1] for row in whole}),
    ):  # the last: all end before the limit
        for each in (any_model, any_hosted):
            monkeypatch.setattr(each.model._module.generation_config, "eos_token_id", ends)
        before = len(any_server.jobs_done)
        expected = any_model.generate_ids(PROMPTS, edit=edit, sampling=sampling)
        assert any_hosted.generate_ids(PROMPTS, edit=edit, sampling=sampling) == expected
        assert len(any_server.jobs_done) == before + 1
    assert max(map(len, expected)) < NEW
    plain = Sampling(new_tokens=3, temperature=temperature, top_k=30, top_p=0.9)
    assert any_hosted.generate_ids(PROMPTS, sampling=plain) == any_model.generate_ids(PROMPTS, sampling=plain)
    monkeypatch.setattr(Ndif, "job_bytes", 2 * any_model.d_model * 4)  # two rows a job
    apart, here = (each.generate_ids(PROMPTS, edit=edit, sampling=plain) for each in (any_hosted, any_model))
    assert apart == here
    assert len(any_server.jobs_done) == before + 4


def test_what_the_checkpoint_says_of_generation_is_overruled_on_ndif(
    any_model: TracedModel, any_hosted: TracedModel, any_server: NdifServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served,) = any_server.models.values()
    for name, value in {"do_sample": True, "temperature": 9.0, "repetition_penalty": 9.0, "max_length": 3}.items():
        monkeypatch.setattr(served._module.generation_config, name, value)
    sampling = Sampling(new_tokens=NEW)
    assert any_hosted.generate_ids(PROMPTS, sampling=sampling) == any_model.generate_ids(PROMPTS, sampling=sampling)


class Nothing(Change):
    """A change that is made anew at each step, and adds 0."""

    def of_text(self, input_ids: Tensor, attention_mask: Tensor) -> Edit:
        return _add(torch.zeros(1))

    def at(self, step: Step) -> Edit:
        return _add(torch.zeros(1))


def test_an_edit_made_at_each_step_is_refused_on_ndif(any_hosted: TracedModel) -> None:
    with pytest.raises(ValueError, match=r"made anew at each step, such as SetLatent.* without remote"):
        any_hosted.generate_ids(PROMPTS, edit=Nothing(), sampling=Sampling(new_tokens=NEW))
    with pytest.raises(ValueError, match="2 seeds for 4 prompts"):
        any_hosted.generate_ids(PROMPTS, sampling=Sampling(new_tokens=NEW, seeds=(1, 2)))


def test_an_answer_that_was_begun_goes_on_as_if_it_had_not_stopped(
    any_model: TracedModel, any_hosted: TracedModel
) -> None:
    changes = 20 * torch.randn(4, 1, any_model.d_model, generator=torch.Generator().manual_seed(5))
    for edit_prompt, temperature in ((True, 1.5), (False, 0.0)):
        sampling = Sampling(new_tokens=NEW, temperature=temperature, edit_prompt=edit_prompt)
        whole = any_model.generate_ids(PROMPTS, edit=_add(changes), sampling=sampling)
        begun = [answer[: min(stop, len(answer) - 1)] for answer, stop in zip(whole, (3, 0, 1, 5), strict=True)]
        for each in (any_model, any_hosted):
            rest = dict(each.generate_each(PROMPTS, begun=begun, edit=_add(changes), sampling=sampling, rows=3))
            for number, (answer, ids) in enumerate(zip(whole, begun, strict=True)):
                assert rest[number][: NEW - len(ids)] == answer[len(ids) :]
    texts = [prompt + ids for prompt, ids in zip(PROMPTS, begun, strict=True)]
    assert rest != dict(any_model.generate_each(texts, edit=_add(changes), sampling=sampling))
