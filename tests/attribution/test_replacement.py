"""The local replacement model: its edges are those of autograd by the definition, and they sum to the targets."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from conftest import CONFIGS
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel, decoder_layers, set_mode
from toolkit.adapters.modes import Mode
from toolkit.attribution import frozen_layer
from toolkit.attribution.replacement import LocalReplacement

IDS = [3, 7, 1, 9, 2, 7]
TYPES = [(torch.float64, 1e-12), (torch.float32, 1e-4)]


class FixedNorm(nn.Module):
    """RMSNorm whose factor has no gradient."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        factor = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.norm.variance_epsilon)
        return x * factor.detach() * self.norm.weight


class RuledMLP(nn.Module):
    """An adapted MLP by the rules; its activations are leaves."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.mlp, self.mode = mlp, mlp.mode

    def forward(self, x: Tensor) -> Tensor:
        mlp = self.mlp.base if self.mode.mlp == "base" else self.mlp.distilled
        gate = mlp.gate_proj(x)
        product = gate * gate.sigmoid().detach() * mlp.up_proj(x)
        out = mlp.down_proj(product / 2 + (product / 2).detach())
        self.input = x
        if self.mode.scale:
            self.activations = self.mlp.transcoder.encode(x).detach().requires_grad_()
            out = out + self.mlp.transcoder.decode(self.activations)
        return out + self.mlp.transcoder.b_dec if self.mode.bias else out


def fixed_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention whose pattern has no gradient."""
    groups = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(groups, 1).mT * scaling
    unseen = torch.ones_like(scores[0, 0]).triu(1).bool()
    pattern = scores.masked_fill(unseen, -torch.inf).softmax(dim=-1).detach()
    return (pattern @ value.repeat_interleave(groups, 1)).transpose(1, 2), None


class Definition:
    """The same model by transformers' own modules, with the rules put in where they belong; autograd does the rest."""

    def __init__(self, adapted: AdaptedModel, mode: Mode) -> None:
        set_mode(decoder_layers(adapted.module), mode)
        module = deepcopy(adapted.module).double()
        ALL_ATTENTION_FUNCTIONS["fixed"] = fixed_attention
        module.config._attn_implementation = "fixed"
        for name, each in list(module.named_modules()):
            if type(each).__name__.endswith("RMSNorm"):
                module.set_submodule(name, FixedNorm(each))
        self.layers = decoder_layers(module)
        for layer in self.layers:
            layer.mlp = RuledMLP(layer.mlp)
        ids = torch.tensor([IDS], device=module.device)
        self.embedded = module.get_input_embeddings()(ids).detach().requires_grad_()
        self.logits = module(inputs_embeds=self.embedded).logits[0, -1]

    def edges(self, target: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """From these latents (layer, position, index) and from all tokens."""
        leaves = [layer.mlp.activations for layer in self.layers if hasattr(layer.mlp, "activations")]
        found = torch.autograd.grad(
            target, [self.embedded, *leaves], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        of_latents = [found[1 + layer][0, p, i] * leaves[layer][0, p, i] for layer, p, i in latents.tolist()]
        return torch.stack(of_latents) if of_latents else found[0].new_zeros(0), (found[0] * self.embedded).sum(-1)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_edges_are_those_of_autograd_by_the_definition(
    adapted: AdaptedModel, dtype: torch.dtype, tolerance: float
) -> None:
    local, truth = LocalReplacement.of(adapted, IDS, dtype=dtype), Definition(adapted, modes.adapter(4))
    assert 40 < len(local.latents) < 110
    found = local.edges_to_logits([5, 11])
    for row, logit in enumerate((5, 11)):
        latents, tokens = truth.edges(truth.logits[logit] - truth.logits.mean(), local.latents)
        torch.testing.assert_close(found.latents[row].double(), latents, rtol=tolerance, atol=10 * tolerance)
        torch.testing.assert_close(found.tokens[row].double(), tokens, rtol=tolerance, atol=10 * tolerance)
    positions, indices = torch.tensor([5, 2, 4]), torch.tensor([1, 0, 5])
    for layer in range(4):
        found = local.edges_to_latents(layer, positions, indices)
        below = local.latents[local.latents[:, 0] < layer]
        for row, (position, index) in enumerate(zip(positions.tolist(), indices.tolist(), strict=True)):
            mlp = truth.layers[layer].mlp
            target = mlp.mlp.transcoder.W_enc[index] @ mlp.input[0, position]
            latents, tokens = truth.edges(target, below)
            torch.testing.assert_close(found.latents[row].double(), latents, rtol=tolerance, atol=10 * tolerance)
            torch.testing.assert_close(found.tokens[row].double(), tokens, rtol=tolerance, atol=10 * tolerance)
            assert float(found.values[row]) == pytest.approx(target.item(), rel=10 * tolerance)


@pytest.mark.parametrize("mode", ["adapter", "hybrid", "distilled"])
def test_edges_sum_to_the_demeaned_logit_and_to_the_pre_activation_less_the_bias(
    adapted: AdaptedModel, mode: str
) -> None:
    local = LocalReplacement.of(adapted, IDS, getattr(modes, mode)(4))
    expected = getattr(adapted, mode).logits(torch.tensor([IDS]), last=1)[0, 0]
    torch.testing.assert_close(local.logits().float(), expected, rtol=1e-4, atol=1e-4)
    found = local.edges_to_logits([5, 11])
    torch.testing.assert_close(found.values.float(), (expected - expected.mean())[[5, 11]], rtol=1e-4, atol=1e-4)
    assert found.errors().max() < 1e-12
    assert found.bias.abs().min() > 1e-3
    assert (len(local.latents) > 0) == (mode == "adapter")
    for layer, frozen in enumerate(local.layers if mode == "adapter" else ()):
        found = local.edges_to_latents(layer, frozen.positions, frozen.indices)
        torch.testing.assert_close(
            found.values + frozen.layer.transcoder.b_enc[frozen.indices].double(), frozen.activations
        )
        assert (found.errors() < 1e-10).all()


def test_the_distilled_models_graph_is_that_of_the_model_by_itself(adapted: AdaptedModel) -> None:
    plain = deepcopy(adapted.module)
    for layer in decoder_layers(plain):
        layer.mlp = layer.mlp.distilled
    found = LocalReplacement.of_plain(plain, IDS).edges_to_logits([5])
    expected = LocalReplacement.of(adapted, IDS, modes.distilled(4)).edges_to_logits([5])
    torch.testing.assert_close(found.tokens, expected.tokens)
    torch.testing.assert_close(found.bias, expected.bias)


def test_latents_that_are_scaled_or_taken_out_add_accordingly(adapted: AdaptedModel) -> None:
    local = LocalReplacement.of(adapted, IDS)
    layer, _, index = local.latents[0].tolist()
    halved = LocalReplacement.of(adapted, IDS, modes.without(4, 6, [(layer, index)], scale=0.5))
    torch.testing.assert_close(halved.activations[0], local.activations[0] / 2)
    without = LocalReplacement.of(adapted, IDS, modes.without(4, 6, [(layer, index)]))
    assert [layer, index] not in without.latents[:, [0, 2]].tolist()
    assert without.edges_to_logits([5]).errors().max() < 1e-12


def test_blocks_of_positions_and_a_sliding_window_change_nothing_but_what_is_seen(
    make_adapted: Callable[..., AdaptedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = deepcopy(CONFIGS["qwen2"])
    config.use_sliding_window, config.sliding_window, config.layer_types = True, 3, ["sliding_attention"] * 4
    adapted = make_adapted(config)
    local = LocalReplacement.of(adapted, IDS)
    expected = adapted.adapter.logits(torch.tensor([IDS]), last=1)[0, 0]
    torch.testing.assert_close(local.logits().float(), expected, rtol=1e-4, atol=1e-4)
    whole = local.edges_to_logits([5])
    assert whole.errors().max() < 1e-12
    monkeypatch.setattr(frozen_layer, "BLOCK", 2)
    torch.testing.assert_close(LocalReplacement.of(adapted, IDS).edges_to_logits([5]).latents, whole.latents)
    near = LocalReplacement.of(adapted, IDS).edges_to_latents(0, torch.tensor([5]), torch.tensor([0]))
    assert near.tokens[0, :3].abs().max() == 0
    assert near.tokens[0, 3:].abs().min() > 0


@torch.no_grad()
def test_a_change_pushed_forward_arrives_as_the_edges_say(adapted: AdaptedModel) -> None:
    local = LocalReplacement.of(adapted, IDS)
    source = int((local.latents[:, 0] == 1).nonzero()[0])
    _, position, index = local.latents[source].tolist()
    change = local.embedded.new_zeros(6, 1, 32)
    change[position, 0] = local.activations[source] * local.layers[1].layer.transcoder.W_dec[index].double()
    of_mlp, out = local.layers[2].push(change)
    expected = local.edges_to_latents(2, torch.tensor([5]), torch.tensor([3])).latents[0, source]
    assert float(of_mlp[5, 0] @ local.layers[2].layer.transcoder.W_enc[3].double()) == pytest.approx(float(expected))
    _, out = local.layers[3].push(out)
    row = (local.unembedding[5].double() - local.mean_row) * local.norm.weight.double() * local.last_factor
    assert float(out[5, 0] @ row) == pytest.approx(float(local.edges_to_logits([5]).latents[0, source]))


def test_another_architecture_and_a_prompt_beyond_the_context_are_refused(
    adapted: AdaptedModel, make_adapted: Callable[..., AdaptedModel]
) -> None:
    with pytest.raises(ValueError, match="65 tokens exceeds the model's context of 64 tokens: attribute a shorter"):
        LocalReplacement.of(adapted, [1] * 65)
    with pytest.raises(ValueError, match="attribution knows the layers of qwen2, qwen3, llama"):
        LocalReplacement.of(make_adapted(CONFIGS["gemma2"]), IDS)
