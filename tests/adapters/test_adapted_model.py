"""The adapted model: each mode is the model that it says, and what the models share is in memory once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS, GROUPED
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3MoeConfig

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel, decoder_layers
from toolkit.adapters.stretches import Stretches
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.interventions.edits import shift
from toolkit.models.model.sampling import Sampling
from toolkit.models.where import Where

IDS = torch.tensor([[40, 3, 7, 1, 9, 2], [40, 5, 5, 6, 41, 41]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


@pytest.fixture(scope="module", params=["qwen2", "qwen3", "llama"])
def folders(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> dict[str, Path]:
    """Two models of one architecture with other random weights."""
    made = {}
    for seed, name in enumerate(("base", "distilled")):
        torch.manual_seed(seed)
        made[name] = tmp_path_factory.mktemp(name)
        AutoModelForCausalLM.from_config(CONFIGS[request.param]).save_pretrained(made[name])
        make_tokenizer().save_pretrained(made[name])
    return made


@pytest.fixture
def adapted(folders: dict[str, Path], adapter: Adapter) -> AdaptedModel:
    return AdaptedModel.from_pretrained(base=str(folders["base"]), distilled=str(folders["distilled"]), adapter=adapter)


def test_the_hybrid_is_the_distilled_model_with_the_base_models_mlps(
    folders: dict[str, Path], adapted: AdaptedModel
) -> None:
    device = adapted.module.device
    base, expected = (
        AutoModelForCausalLM.from_pretrained(folders[name]).eval().to(device) for name in ("base", "distilled")
    )
    ids, mask = IDS.to(device), MASK.to(device)
    torch.testing.assert_close(adapted.distilled.logits(IDS, MASK), expected(ids, attention_mask=mask).logits)
    for ours, theirs in zip(expected.model.layers, base.model.layers, strict=True):
        ours.mlp = theirs.mlp
    with torch.no_grad():
        torch.testing.assert_close(adapted.hybrid.logits(IDS, MASK), expected(ids, attention_mask=mask).logits)


def test_the_adapter_adds_each_layers_transcoder_to_the_base_models_mlp(
    folders: dict[str, Path], adapted: AdaptedModel, adapter: Adapter
) -> None:
    inputs = adapted.mlp_inputs(IDS, MASK)
    base = AutoModelForCausalLM.from_pretrained(folders["base"]).eval().to(adapted.module.device)
    sites = adapted.adapter.residual(IDS, MASK, layers=range(4))
    for layer in range(3):
        part = adapter[layer]
        with torch.no_grad():
            added = torch.relu(inputs[layer] @ part.W_enc.t() + part.b_enc) @ part.W_dec + part.b_dec
            mlp = base.model.layers[layer].mlp(inputs[layer])
        attention = adapted.module.get_submodule(f"model.layers.{layer}.post_attention_layernorm")
        middle = sites[layer + 1] - added - mlp  # the stream between attention and MLP
        torch.testing.assert_close(attention(middle)[MASK.bool()], inputs[layer][MASK.bool()], atol=1e-4, rtol=1e-3)


def test_latents_are_taken_out_added_and_transferred(adapted: AdaptedModel, adapter: Adapter) -> None:
    everything = [(layer, latent) for layer in range(4) for latent in range(24)]
    no_bias = tuple(modes.LayerMode(mlp="base", scale=1.0) for _ in range(4))
    logits = {
        "hybrid": adapted.hybrid.logits(IDS, MASK),
        "adapter": adapted.adapter.logits(IDS, MASK),
        "distilled": adapted.distilled.logits(IDS, MASK),
    }
    assert (logits["hybrid"] - logits["adapter"]).abs().max() > 1e-3
    torch.testing.assert_close(adapted.without([]).logits(IDS, MASK), logits["adapter"])
    torch.testing.assert_close(
        adapted.with_latents(everything, mlp="base").logits(IDS, MASK), adapted.in_mode(no_bias).logits(IDS, MASK)
    )
    torch.testing.assert_close(adapted.with_latents([], mlp="distilled").logits(IDS, MASK), logits["distilled"])
    transferred = adapted.with_latents([(1, 3)], mlp="distilled", scale=-0.5).logits(IDS, MASK)
    assert (transferred - logits["distilled"]).abs().max() > 0
    with pytest.raises(ValueError, match="latent 1/24 does not exist"):
        adapted.without([(1, 24)])


def test_stretches_run_as_the_model_does_and_recomputing_changes_no_gradient(adapted: AdaptedModel) -> None:
    for mode, model in ((modes.distilled(4), adapted.distilled), (modes.adapter(4), adapted.adapter)):
        stretches = Stretches(adapted.module)
        with torch.no_grad():
            sites = stretches.run(stretches.embed(IDS), mode).sites
            torch.testing.assert_close(stretches.logits(sites[-1])[MASK.bool()], model.logits(IDS, MASK)[MASK.bool()])
            later = stretches.run(sites[2], mode, 2).sites
            torch.testing.assert_close(later[-1], sites[-1])
    found = []
    for recompute in (False, True):
        stretches = Stretches(adapted.module, recompute=recompute)
        weights = (MASK / MASK.sum()).flatten()
        ran = stretches.run(stretches.embed(IDS), modes.adapter(4), token_weights=weights)
        with torch.no_grad():  # another mode in between must not matter
            stretches.run(stretches.embed(IDS), modes.distilled(4))
        (ran.sites[-1].square().sum() + torch.stack(ran.penalties).sum()).backward()
        found.append([each.grad.clone() for each in adapted.transcoders.parameters() if each.grad is not None])
        adapted.transcoders.zero_grad()
    assert len(found[0]) == 16
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_says_its_mode(adapted: AdaptedModel) -> None:
    said = [repr(each) for each in (adapted.distilled, adapted.hybrid, adapted.adapter, adapted.without([(1, 3)]))]
    found = [each.splitlines()[0].rpartition(", ")[2] for each in said]
    assert found == ["mode distilled:", "mode hybrid:", "mode adapter:", "mode mixed:"]


def test_modes_generate_under_edits_and_do_not_disturb_each_other(adapted: AdaptedModel) -> None:
    edit = shift(2, torch.ones(1, 32) * 5)
    before = adapted.adapter.generate("w1 w2", new_tokens=6)
    adapted.hybrid.generate("w1 w2", new_tokens=6, edit=edit)
    assert adapted.adapter.generate("w1 w2", new_tokens=6) == before


def test_modes_write_by_turns_with_rows_that_replace_each_other(adapted: AdaptedModel) -> None:
    prompts = [[1 + row % 30] * (1 + row % 4) for row in range(9)]
    models, sampling = (adapted.hybrid, adapted.adapter), Sampling(new_tokens=6, temperature=1.0)
    apart = [model.generate_ids(prompts, sampling=sampling) for model in models]
    assert apart[0] != apart[1]
    by_turns = zip(*(model.generate_each(prompts, sampling=sampling, rows=2) for model in models), strict=True)
    for pairs in by_turns:
        for (number, ids), expected in zip(pairs, apart, strict=True):
            assert ids == expected[number]


def test_weights_that_models_share_are_held_once(folders: dict[str, Path], adapted: AdaptedModel) -> None:
    whole = AutoModelForCausalLM.from_pretrained(folders["distilled"])
    mlps = sum(each.numel() for name, each in whole.named_parameters() if ".mlp." in name)
    extra = sum(each.numel() for each in adapted.transcoders.parameters())
    assert sum(each.numel() for each in adapted.module.parameters()) == whole.num_parameters() + mlps + extra


def test_a_model_in_memory_is_left_as_it_is(folders: dict[str, Path], adapter: Adapter) -> None:
    models = {name: AutoModelForCausalLM.from_pretrained(folder).eval() for name, folder in folders.items()}
    adapted = AdaptedModel.from_pretrained(base=models["base"], distilled=models["distilled"], adapter=adapter)
    assert type(models["distilled"].model.layers[0].mlp).__name__.endswith("MLP")
    assert not hasattr(models["distilled"].model.layers[0].mlp, "transcoder")
    expected = models["distilled"](IDS, attention_mask=MASK).logits
    torch.testing.assert_close(adapted.distilled.logits(IDS, MASK), expected)


def test_another_adapter_stands_beside_the_first_over_the_same_weights(adapted: AdaptedModel) -> None:
    before = adapted.adapter.logits(IDS, MASK)
    nothing = Adapter(AdapterConfig(d_model=32, n_layers=4, n_latents=3))
    other = adapted.with_adapter(nothing)
    torch.testing.assert_close(other.adapter.logits(IDS, MASK), adapted.hybrid.logits(IDS, MASK))
    stretches = Stretches(other.module)
    with torch.no_grad():
        last = stretches.run(stretches.embed(IDS), modes.adapter(4)).sites[-1]
        torch.testing.assert_close(stretches.logits(last)[0], adapted.hybrid.logits(IDS, MASK)[0])
    assert torch.equal(adapted.adapter.logits(IDS, MASK), before)
    own = {id(each) for each in adapted.module.parameters()}
    assert sum(id(each) not in own for each in other.module.parameters()) == 4 * 4
    with pytest.raises(ValueError, match="5 layers"):
        adapted.with_adapter(Adapter(AdapterConfig(d_model=32, n_layers=5, n_latents=3)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (AdapterConfig(d_model=16, n_layers=4, n_latents=8), "d_model 16"),
        (AdapterConfig(d_model=32, n_layers=5, n_latents=8), "5 layers"),
        (
            AdapterConfig(d_model=32, n_layers=4, n_latents=8, sources=("a", "b"), fingerprints=("x", "y")),
            "trained on another base",
        ),
    ],
)
def test_an_adapter_of_other_models_is_refused(folders: dict[str, Path], shape: AdapterConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptedModel.from_pretrained(
            base=str(folders["base"]), distilled=str(folders["distilled"]), adapter=Adapter(shape)
        )


def test_one_model_twice_is_refused(folders: dict[str, Path], adapter: Adapter) -> None:
    with pytest.raises(ValueError, match="the same weights"):
        AdaptedModel.from_pretrained(base=str(folders["base"]), distilled=str(folders["base"]), adapter=adapter)


def test_config_and_head_are_the_distilled_models(save_model: Callable[..., Path], adapter: Adapter) -> None:
    """Whichever of the two ties its head to the embedding."""
    tied, untied = (
        save_model(type(CONFIGS["qwen2"])(**CONFIGS["qwen2"].to_dict() | {"tie_word_embeddings": ties}), seed=seed)
        for seed, ties in enumerate((True, False))
    )
    for base, distilled in ((tied, untied), (untied, tied)):
        adapted = AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
        expected, other = (AutoModelForCausalLM.from_pretrained(each).eval() for each in (distilled, base))
        assert adapted.module.config.tie_word_embeddings == (distilled == tied)
        for ours, theirs in zip(expected.model.layers, other.model.layers, strict=True):
            ours.mlp = theirs.mlp
        with torch.no_grad():
            logits = expected(IDS, attention_mask=MASK).logits
        torch.testing.assert_close(adapted.hybrid.logits(IDS, MASK).cpu(), logits)


def test_weights_are_bfloat16_where_that_is_asked_and_the_adapter_stays_float32(
    folders: dict[str, Path], adapter: Adapter
) -> None:
    where = Where(dtype="bfloat16")
    adapted = AdaptedModel.from_pretrained(**folders, adapter=adapter, where=where)
    for layer, part in zip(decoder_layers(adapted.module), adapter.transcoders, strict=True):
        mlps = {each.dtype for mlp in (layer.mlp.base, layer.mlp.distilled) for each in mlp.parameters()}
        assert mlps == {torch.bfloat16}
        assert layer.mlp.transcoder is part
        assert part.W_enc.dtype == torch.float32
    whole = AdaptedModel.from_pretrained(**folders, adapter=adapter)
    for mode in ("distilled", "hybrid", "adapter"):
        rounded, exact = (getattr(each, mode).logits(IDS, MASK)[MASK.bool()].float() for each in (adapted, whole))
        assert (rounded - exact).norm() < 0.03 * exact.norm()


def test_weights_in_bin_files_are_read_too(folders: dict[str, Path], adapter: Adapter, tmp_path: Path) -> None:
    for name, folder in folders.items():
        shutil.copytree(folder, tmp_path / name)
        file = tmp_path / name / "model.safetensors"
        torch.save(load_file(file), tmp_path / name / "pytorch_model.bin")
        file.unlink()
    bins = {name: tmp_path / name for name in folders}
    one, other = (
        AdaptedModel.from_pretrained(**each, adapter=adapter).hybrid.logits(IDS, MASK) for each in (folders, bins)
    )
    torch.testing.assert_close(one, other)


def test_a_base_model_in_memory_lends_its_mlps_in_the_distilled_models_type(
    folders: dict[str, Path], adapter: Adapter
) -> None:
    base = AutoModelForCausalLM.from_pretrained(folders["base"], dtype=torch.float64).eval()
    mixed = AdaptedModel.from_pretrained(base=base, distilled=folders["distilled"], adapter=adapter)
    whole = AdaptedModel.from_pretrained(**folders, adapter=adapter)
    torch.testing.assert_close(mixed.hybrid.logits(IDS, MASK), whole.hybrid.logits(IDS, MASK))
    assert {each.dtype for each in base.parameters()} == {torch.float64}


def test_weights_that_would_stay_on_the_disk_are_refused(folders: dict[str, Path], adapter: Adapter) -> None:
    where = Where(max_memory={"cpu": "40KB"}, device_map="auto")
    with pytest.raises(ValueError, match="does not fit into memory, and an adapted model is not read from the disk"):
        AdaptedModel.from_pretrained(**folders, adapter=adapter, where=where)


@pytest.mark.parametrize("name", ["remote", "tensor_parallel", "sequential", "base_device"])
def test_places_where_a_model_is_not_whole_in_this_process_are_refused(
    folders: dict[str, Path], adapter: Adapter, name: str
) -> None:
    with pytest.raises(ValueError, match=f"{name}: .* leave out {name}"):
        AdaptedModel.from_pretrained(**folders, adapter=adapter, where=Where(**{name: True}))


@pytest.mark.parametrize(
    ("change", "noun"),
    [({"hidden_size": 16}, r"width \(d_model\)"), ({"num_hidden_layers": 3}, r"depth \(decoder layers\)")],
)
def test_models_of_another_shape_are_refused(
    save_model: Callable[..., Path], adapter: Adapter, change: dict[str, int], noun: str
) -> None:
    config = CONFIGS["qwen2"].to_dict() | {"layer_types": None}
    base, distilled = (save_model(type(CONFIGS["qwen2"])(**config | each)) for each in (change, {}))
    with pytest.raises(ValueError, match=f"the models differ in {noun}"):
        AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)


def test_base_models_of_another_mlp_are_refused(save_model: Callable[..., Path], adapter: Adapter) -> None:
    config = CONFIGS["qwen2"].to_dict()
    base, distilled = (save_model(type(CONFIGS["qwen2"])(**config | {"intermediate_size": size})) for size in (40, 48))
    with pytest.raises(ValueError, match=r"layer 0 of base .* has no MLP like the distilled model's: .*\[32, 40\]"):
        AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "moe"])
def test_models_without_gated_mlps_are_refused(save_model: Callable[..., Path], adapter: Adapter, kind: str) -> None:
    moe = Qwen3MoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    base, distilled = (save_model({**CONFIGS, "moe": moe}[kind], seed=seed) for seed in (1, 2))
    with pytest.raises(ValueError, match="layer 0 of distilled has no gated MLP"):
        AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
