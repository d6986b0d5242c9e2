"""Every known model type is read, edited and continued as transformers alone does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Edit
from toolkit.models.model.layers import _LAYERS, layers_path
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.shapes import ModelShape
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.server_side import replacement
from toolkit.models.places.open_model import open_model
from toolkit.models.where import Where

Batch = tuple[Tensor, Tensor]
N_LAYERS = 4
NAMES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": N_LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50, "max_position_embeddings": 64, "sliding_window": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    # Mixtures of experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_topk": 2, "moe_k": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "moe_layer_start_index": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "shared_intermediate_size": 16,
    "n_shared_experts": 1,
    # Latent attention
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 8,
    # Names of older models
    "ffn_dim": 48, "ffn_hidden_size": 48, "n_positions": 64, "n_ctx": 64, "rotary_dim": 8, "word_embed_proj_dim": 32,
    "dim_model_base": 32, "max_seq_len": 64, "n_embd": 32, "n_layer": N_LAYERS, "n_head": 4, "d_model": 32,
    "n_layers": N_LAYERS, "n_heads": 4, "seq_length": 64,
}  # fmt: skip
"""What makes a model small, in the words of every config."""
QUICK = ("mistral", "phi3", "olmo2", "qwen3_moe", "gpt_oss")


def tiny(model_type: str) -> PreTrainedConfig:
    kind = CONFIG_MAPPING[model_type]
    known = kind().to_dict().keys() | kind.attribute_map.keys()
    sizes: dict[str, Any] = {name: value for name, value in NAMES.items() if name in known}
    if model_type == "gpt_neo":
        sizes["attention_types"] = [[["global", "local"], N_LAYERS // 2]]
    if "qk_rope_head_dim" in sizes:  # latent attention has as many heads of keys, and rotates a part of each
        sizes |= {"head_dim": sizes["qk_rope_head_dim"], "num_key_value_heads": sizes["num_attention_heads"]}
    return kind(**sizes)


@pytest.fixture(
    scope="module",
    params=[pytest.param(t, marks=() if t in QUICK else pytest.mark.slow) for t in sorted(_LAYERS) if t != "gemma3"],
)
def folder(request: pytest.FixtureRequest, save_model: Callable[..., Path]) -> Path:
    return save_model(tiny(request.param))


@pytest.fixture(scope="module")
def own(folder: Path) -> PreTrainedModel:
    """The model as transformers alone loads it."""
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def opened(folder: Path, depth: int | None = None) -> TracedModel:
    return open_model(str(folder), load_tokenizer(str(folder)), Where(device_map="cpu"), depth=depth)


def test_it_reads_edits_and_continues_as_transformers_does(folder: Path, own: PreTrainedModel, batch: Batch) -> None:
    model = opened(folder)
    with torch.no_grad():
        truth = own(input_ids=batch[0], attention_mask=batch[1], use_cache=False, output_hidden_states=True)
    kept = batch[1].bool()
    for layer, residual in enumerate(model.residual(*batch, range(N_LAYERS))):
        torch.testing.assert_close(residual[kept], truth.hidden_states[layer][kept], rtol=0, atol=0)
    torch.testing.assert_close(model.logits(*batch)[kept], truth.logits[kept], rtol=0, atol=0)

    def bump(residual: Tensor) -> Tensor:
        return residual + torch.arange(32) / 8

    layer = own.get_submodule(layers_path(own))[2]
    hook = layer.register_forward_pre_hook(lambda _, args: (bump(args[0]), *args[1:]))
    with torch.no_grad():
        edited = own(input_ids=batch[0], attention_mask=batch[1], use_cache=False).logits
    hook.remove()
    edit = Edit(layer=2, function=bump)
    torch.testing.assert_close(model.logits(*batch, edit=edit)[kept], edited[kept], rtol=0, atol=0)
    assert not torch.equal(edited[kept], truth.logits[kept])

    rows = [row[: int(mask.sum())] for row, mask in zip(*batch, strict=True)]
    written = model.generate_ids([row.tolist() for row in rows], sampling=Sampling(new_tokens=5))
    how = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": model.end_ids.tolist()}
    for row, found in zip(rows, written, strict=True):
        alone = own.generate(row[None], attention_mask=torch.ones_like(row)[None], **how)
        assert found == alone[0, len(row) :].tolist()


def test_layers_before_a_stream_that_is_replaced_do_not_run(folder: Path, own: PreTrainedModel, batch: Batch) -> None:
    model, kept = opened(folder), batch[1].bool()
    values = torch.randn(*batch[0].shape, 32, generator=torch.Generator().manual_seed(0))
    layers = own.get_submodule(layers_path(own))
    hook = layers[2].register_forward_pre_hook(lambda _, args: (values, *args[1:]))
    with torch.no_grad():
        truth = own(input_ids=batch[0], attention_mask=batch[1], use_cache=False).logits
    hook.remove()
    ran: list[int] = []
    module = model.model._module
    for number, layer in enumerate(module.get_submodule(layers_path(module))):
        next(layer.children()).register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    moot = Edit(layer=1, function=torch.add, operands=(torch.ones(1, 1, 32),))
    edit = moot + Edit(layer=2, function=replacement, operands=(values,))
    torch.testing.assert_close(model.logits(*batch, edit=edit)[kept], truth[kept], rtol=0, atol=0)
    assert sorted(set(ran)) == [2, 3]


def test_what_replaces_a_stream_stays_as_it_is_though_the_next_edit_works_in_place(folder: Path, batch: Batch) -> None:
    values = torch.randn(*batch[0].shape, 32, generator=torch.Generator().manual_seed(0))
    replaced = Edit(layer=2, function=replacement, operands=(before := values.clone(),))
    opened(folder).logits(*batch, edit=replaced + Edit(layer=2, function=torch.Tensor.zero_))
    assert torch.equal(before, values)


def test_layers_before_an_edit_run_once_for_all_edits(folder: Path, batch: Batch) -> None:
    model = opened(folder)
    values = torch.randn(int(batch[1].sum()), 32, generator=torch.Generator().manual_seed(0))
    later = Edit(layer=2, function=replacement, operands=(values,), positions=batch[1].bool())
    earlier = Edit(layer=1, function=torch.add, operands=(torch.ones(1, 1, 32),))
    first = Edit(layer=0, function=torch.add, operands=(torch.ones(1, 1, 32),))
    in_place = Edit(layer=2, function=torch.Tensor.mul_, operands=(torch.full((1, 1, 32), 2.0),))
    edits = [None, later, earlier, later + earlier, first, in_place, in_place, later]
    alone = [measure(model, *batch, [edit], next_log_probability, (batch[0],)) for edit in edits]
    ran: list[int] = []
    module = model.model._module
    for number, layer in enumerate(module.get_submodule(layers_path(module))):
        next(layer.children()).register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    together = measure(model, *batch, edits, next_log_probability, (batch[0],))
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
    assert [ran.count(layer) for layer in range(N_LAYERS)] == [2, 4, 8, 8]


def test_its_first_layers_read_the_same(folder: Path, batch: Batch) -> None:
    kept = batch[1].bool()
    whole, part = opened(folder), opened(folder, depth=2)
    for mine, truth in zip(part.residual(*batch, range(3)), whole.residual(*batch, range(3)), strict=True):
        torch.testing.assert_close(mine[kept], truth[kept], rtol=0, atol=0)


def test_its_shape_counts_its_parameters(own: PreTrainedModel) -> None:
    shape = ModelShape.from_config(own.config)
    assert (shape.n_layers, shape.d_model) == (N_LAYERS, 32)
    assert shape.parameters() == sum(weight.numel() for weight in own.parameters())
