"""Reads and edits agree with the model's own forward pass."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, BatchEncoding, DynamicCache

from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Edit
from toolkit.models.model.layers import layers_path
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.where import Where

Batch = tuple[Tensor, Tensor]
FINAL_MODULES = {"model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm", "lm_head", "embed_out"}


def trace(folder: Path) -> TracedModel:
    return TracedModel(Here(load_model(str(folder), load_tokenizer(str(folder)), Where(device_map="cpu"))))


@pytest.fixture(scope="module")
def any_model(any_folder: Path) -> TracedModel:
    return trace(any_folder)


@pytest.fixture(scope="module")
def model(folders: tuple[Path, Path]) -> TracedModel:
    return trace(folders[0])


@pytest.fixture(scope="module")
def any_truth(any_folder: Path) -> Callable[[Batch], tuple[tuple[Tensor, ...], Tensor]]:
    """Hidden states and logits of the same model, loaded and run by transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(any_folder).eval()

    def run(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
        with torch.no_grad():
            output = model(input_ids=batch[0], attention_mask=batch[1], use_cache=False, output_hidden_states=True)
        return output.hidden_states, output.logits

    return run


def test_residual_equals_hidden_states(any_model: TracedModel, any_truth: Callable, batch: Batch) -> None:
    hidden_states, _ = any_truth(batch)
    residuals = any_model.residual(*batch, layers=range(4))
    for layer, residual in enumerate(residuals):
        torch.testing.assert_close(residual, hidden_states[layer], rtol=0, atol=0)


def test_logits_equal_the_models_own(any_model: TracedModel, any_truth: Callable, batch: Batch) -> None:
    torch.testing.assert_close(any_model.logits(*batch), any_truth(batch)[1], rtol=0, atol=0)


def test_the_identity_edit_changes_nothing(any_model: TracedModel, batch: Batch) -> None:
    edited = any_model.logits(*batch, edit=Edit(layer=2, function=torch.clone))
    torch.testing.assert_close(edited, any_model.logits(*batch), rtol=0, atol=0)


def test_an_edit_acts_at_its_position_and_after(any_model: TracedModel, batch: Batch) -> None:
    def bump(residual: Tensor) -> Tensor:
        edited = residual.clone()
        edited[:, 3] += 5 * torch.arange(residual.shape[-1])
        return edited

    edit = Edit(layer=2, function=bump)
    change = (any_model.logits(*batch, edit=edit) - any_model.logits(*batch)).abs().amax(dim=-1)
    assert (change[:, :3] == 0).all()
    assert (change[:, 3:5] > 0).all()


def test_padding_leaves_the_row_as_it_is_alone(any_model: TracedModel, batch: Batch) -> None:
    (together,) = any_model.residual(*batch, layers=[2])
    for row, length in enumerate(batch[1].sum(dim=1).tolist()):
        ids = batch[0][row : row + 1, :length]
        (alone,) = any_model.residual(ids, torch.ones_like(ids), layers=[2])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def modules_run(model: TracedModel, call: Callable[[], object]) -> set[str]:
    """Names of the modules whose forward pass ends during `call`."""
    names: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, name=name: names.add(name))
        for name, module in model.model._module.named_modules()
    ]
    call()
    for handle in handles:
        handle.remove()
    return names


def test_nothing_runs_from_the_last_site_on(any_model: TracedModel, batch: Batch) -> None:
    whole = modules_run(any_model, lambda: any_model.logits(*batch))
    stopped = modules_run(any_model, lambda: any_model.residual(*batch, layers=[2, 0]))
    path = layers_path(any_model.model._module)
    before, after = {f"{path}.0", f"{path}.1"}, {f"{path}.2", f"{path}.3", *FINAL_MODULES} & whole
    assert before <= stopped
    assert len(after) == 4
    assert not [name for name in stopped if name.startswith(tuple(after))]


def test_sites_come_in_the_order_asked(model: TracedModel, batch: Batch) -> None:
    ascending = model.residual(*batch, layers=[0, 3])
    asked = model.residual(*batch, layers=[3, 0, 3])
    for residual, site in zip(asked, [1, 0, 1], strict=True):
        torch.testing.assert_close(residual, ascending[site], rtol=0, atol=0)


def test_no_gradients_are_kept(model: TracedModel, batch: Batch) -> None:
    assert not model.residual(*batch, layers=[2])[0].requires_grad
    assert not model.logits(*batch, edit=Edit(layer=2, function=torch.clone)).requires_grad


def test_inference_mode_reads_the_same(model: TracedModel, batch: Batch) -> None:
    (expected,) = model.residual(*batch, layers=[2])
    with torch.inference_mode():
        (residual,) = model.residual(*batch, layers=[2])
    torch.testing.assert_close(residual, expected, rtol=0, atol=0)


def test_threads_may_share_a_model(model: TracedModel, batch: Batch) -> None:
    (expected,) = model.residual(*batch, layers=[2])
    with ThreadPoolExecutor(4) as pool:
        reads = list(pool.map(lambda _: model.residual(*batch, layers=[2])[0], range(40)))
    for residual in reads:
        torch.testing.assert_close(residual, expected, rtol=0, atol=0)


def test_a_failing_edit_leaves_the_model_usable(model: TracedModel, batch: Batch) -> None:
    before = model.logits(*batch)
    with pytest.raises(RuntimeError, match="size of tensor"):
        model.logits(*batch, edit=Edit(layer=1, function=lambda residual: residual + torch.ones(7)))
    torch.testing.assert_close(model.logits(*batch), before, rtol=0, atol=0)


def test_sites_out_of_range_are_named(model: TracedModel, batch: Batch) -> None:
    with pytest.raises(ValueError, match="layer 4 is out of range"):
        model.logits(*batch, edit=Edit(layer=4, function=torch.clone))
    with pytest.raises(ValueError, match="layer 9 is out of range"):
        model.residual(*batch, layers=[9])


def test_a_read_sees_the_edit_from_its_site_on(any_model: TracedModel, batch: Batch) -> None:
    edit = Edit(layer=2, function=torch.add, operands=(torch.ones(1, 1, any_model.d_model),))
    clean = any_model.residual(*batch, layers=range(4))
    edited = any_model.residual(*batch, layers=range(4), edit=edit)
    for layer in (0, 1):
        torch.testing.assert_close(edited[layer], clean[layer], rtol=0, atol=0)
    torch.testing.assert_close(edited[2], clean[2] + 1)
    assert (edited[3] - clean[3]).abs().min() > 0


def test_the_last_logits_of_rows_padded_on_the_left(any_model: TracedModel, batch: Batch) -> None:
    input_ids, mask = batch
    whole = any_model.logits(*batch)
    shifts = (1 - mask).sum(dim=1)
    left_ids = torch.stack([row.roll(int(by)) for row, by in zip(input_ids, shifts, strict=True)])
    left_mask = torch.stack([row.roll(int(by)) for row, by in zip(mask, shifts, strict=True)])
    last = any_model.logits(left_ids, left_mask, last=1)
    assert last.shape[1] == 1
    torch.testing.assert_close(last[:, 0], whole[torch.arange(len(mask)), mask.sum(dim=1) - 1], rtol=1e-4, atol=1e-5)


def test_a_cached_past_gives_the_same_logits_and_sites(any_model: TracedModel, batch: Batch) -> None:
    input_ids, mask = batch[0][:1], batch[1][:1]
    past = DynamicCache(config=any_model.model._module.config)
    any_model.logits(input_ids[:, :8], mask[:, :8], past=past)
    (site,) = any_model.residual(input_ids, mask, layers=[2])
    rest = any_model.logits(input_ids[:, 8:], mask, past=past)
    torch.testing.assert_close(rest, any_model.logits(input_ids, mask)[:, 8:], rtol=1e-4, atol=1e-5)
    past = DynamicCache(config=any_model.model._module.config)
    any_model.residual(input_ids[:, :8], mask[:, :8], [2], past=past)
    torch.testing.assert_close(
        any_model.residual(input_ids[:, 8:], mask, [2], past=past)[0], site[:, 8:], rtol=1e-4, atol=1e-5
    )


def test_text_beyond_the_context_is_refused_by_every_entrance(any_model: TracedModel) -> None:
    ids = torch.ones(2, 65, dtype=torch.long)
    with pytest.raises(
        ValueError, match="a text of 65 tokens exceeds the model's context of 64 tokens: cut it shorter"
    ):
        any_model.logits(ids)
    with pytest.raises(ValueError, match="exceeds the model's context"):
        any_model.residual(ids, ids, [2])
    with pytest.raises(ValueError, match="exceeds the model's context"):
        any_model.selected(ids, ids, ids, [2])
    with pytest.raises(ValueError, match="exceeds the model's context"):
        any_model.generate_ids(ids, sampling=Sampling(new_tokens=1))


def test_padding_beyond_the_context_changes_nothing(any_model: TracedModel, batch: Batch) -> None:
    (expected,) = any_model.residual(*batch, [2])
    padded = [torch.cat([each, torch.zeros(3, 64, dtype=torch.long)], dim=1) for each in batch]
    (read,) = any_model.residual(*padded, [2])
    kept = batch[1].bool()
    torch.testing.assert_close(read[:, :12][kept], expected[kept], rtol=1e-4, atol=1e-5)


def test_ids_come_as_arrays_lists_and_what_a_tokenizer_returned(model: TracedModel, batch: Batch) -> None:
    ids, mask = batch
    returned = BatchEncoding({"input_ids": ids, "attention_mask": mask})
    whole, (site,) = model.logits(ids, mask), model.residual(ids, mask, [2])
    for given in ((returned, None), (ids.numpy(), mask.numpy()), (ids.int(), mask.tolist())):
        torch.testing.assert_close(model.logits(*given), whole, rtol=0, atol=0)
        torch.testing.assert_close(model.residual(*given, [2])[0], site, rtol=0, atol=0)
        torch.testing.assert_close(model.selected(*given, mask.numpy(), [2])[:, 0], site[mask.bool()], rtol=0, atol=0)


def test_last_logits_are_asked_for_by_their_number(model: TracedModel, batch: Batch) -> None:
    whole = model.logits(*batch)
    for last, expected in ((0, whole), (torch.tensor(2), whole[:, -2:])):
        torch.testing.assert_close(model.logits(*batch, last=last), expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match="last -1: give how many of the last positions"):
        model.logits(*batch, last=-1)


def test_an_id_without_an_embedding_is_refused(model: TracedModel) -> None:
    with pytest.raises(ValueError, match="token id 50 is out of range: the model has 50 embeddings"):
        model.logits([[1, 50]])


def test_padding_stays_masked_where_tokens_see_what_comes_later(pair, monkeypatch):
    ids, mask = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])

    def sees() -> list[list[int]]:
        return pair.base.inputs(ids, mask, None, masked=False)["attention_mask"].tolist()

    assert sees() == torch.ones_like(mask).tolist()
    for name, value in (("is_causal", False), ("use_bidirectional_attention", True)):
        with monkeypatch.context() as patched:
            patched.setattr(pair.base.model._module.config, name, value, raising=False)
            assert sees() == mask.tolist()
