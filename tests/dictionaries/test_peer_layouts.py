"""The formulas of crosscoder-model-diff-replication and crosscode as loops, against what is read."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder

D_MODEL, N_LATENTS = 5, 12
THRESHOLD, OLDER_THRESHOLD = "_activation_fn.log_threshold_L", "activation_fn.log_threshold_L"


def draw(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def replication() -> dict[str, Tensor]:
    rows = (2, D_MODEL)
    return draw(W_enc=(*rows, N_LATENTS), W_dec=(N_LATENTS, *rows), b_enc=(N_LATENTS,), b_dec=rows)


def crosscode(n_layers: int = 2) -> dict[str, Tensor]:
    rows = (2, n_layers, D_MODEL)
    tensors = draw(
        _W_enc_XiDiL=(*rows, N_LATENTS), _W_dec_LXoDo=(N_LATENTS, *rows), b_enc_L=(N_LATENTS,), _b_dec_XoDo=rows
    )
    factors = {f"folded_scaling_factors_{end}": torch.zeros(2, n_layers) for end in ("in_Xi", "out_Xo")}
    return tensors | factors | {"is_folded": torch.tensor(False)}


def folded(tensors: dict[str, Tensor], scale: Tensor) -> dict[str, Tensor]:
    """What crosscode's `_fold_activation_scaling_into_weights_` makes of them before its trainers save."""
    return tensors | {
        "_W_enc_XiDiL": tensors["_W_enc_XiDiL"] * scale[..., None, None],
        "_W_dec_LXoDo": tensors["_W_dec_LXoDo"] / scale[..., None],
        "_b_dec_XoDo": tensors["_b_dec_XoDo"] / scale[..., None],
        "folded_scaling_factors_in_Xi": scale,
        "folded_scaling_factors_out_Xo": scale,
        "is_folded": torch.tensor(True),
    }


def activations(n_streams: int) -> Tensor:
    return 20 * torch.randn(30, n_streams, D_MODEL, generator=torch.Generator().manual_seed(8))


def reference(encoder, b_enc, decoder, b_dec, x, scale, threshold=None) -> tuple[Tensor, Tensor]:
    """Codes weighted by summed decoder norms, and the raw reconstruction; axes are [stream, d_model, latent]."""
    codes, rebuilt = torch.zeros(len(x), N_LATENTS), torch.zeros_like(x)
    for token in range(len(x)):
        out = b_dec.clone()
        for latent in range(N_LATENTS):
            f = (x[token] * scale[:, None] * encoder[:, :, latent]).sum() + b_enc[latent]
            if f > (0 if threshold is None else threshold[latent]):
                codes[token, latent] = f * sum(row.norm() for row in decoder[latent])
                out += f * decoder[latent]
        rebuilt[token] = out / scale[:, None]
    return codes, rebuilt


def check(crosscoder: Crosscoder, x: Tensor, codes: Tensor, rebuilt: Tensor) -> None:
    assert 0.1 < (codes > 0).float().mean() < 0.9
    torch.testing.assert_close(crosscoder.encode(x), codes, rtol=1e-5, atol=1e-5 * codes.max().item())
    torch.testing.assert_close(crosscoder(x), rebuilt, rtol=1e-5, atol=1e-5 * rebuilt.abs().max().item())


def save_replication(folder: Path, hook: str = "blocks.14.hook_resid_pre") -> dict[str, Tensor]:
    tensors = replication()
    folder.mkdir()
    torch.save(tensors, folder / "cc_weights.pt")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_MODEL, "hook_point": hook}))
    return tensors


def save_crosscode(folder: Path, tensors: dict[str, Tensor], rule: str) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "model.pt")
    (folder / "model_cfg.yaml").write_text(f"activation_fn:\n  cfg: {{}}\n  classname: {rule}\nd_model: {D_MODEL}\n")
    return folder


def test_a_replication_takes_raw_activations_once_its_factors_are_given(tmp_path: Path) -> None:
    t, x = save_replication(tmp_path / "run"), activations(2)
    scale = torch.tensor([0.1, 0.04])
    crosscoder = Crosscoder.from_pretrained(tmp_path / "run", scale=(0.1, 0.04), device="cpu")
    check(crosscoder, x, *reference(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], x, scale))
    assert crosscoder.config.layers == (14,)
    assert crosscoder.config.scale == pytest.approx((0.1, 0.04))


def test_a_replication_without_factors_warns_and_takes_scaled_activations(tmp_path: Path) -> None:
    t, x = save_replication(tmp_path / "run"), activations(2)
    with pytest.warns(UserWarning, match=r"factors are not stored, give scale=, or raw activations will give wrong"):
        crosscoder = Crosscoder.from_pretrained(tmp_path / "run", device="cpu")
    check(crosscoder, x, *reference(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], x, torch.ones(2)))
    assert any("not stored" in line and line.startswith("activations") for line in crosscoder.assumptions)


@pytest.mark.parametrize(
    ("hook", "layers"), [("blocks.3.hook_resid_post", (4,)), ("blocks.3.hook_mlp_out", (-1,)), ("", (-1,))]
)
def test_the_hook_tells_the_layer_whose_input_is_read(tmp_path: Path, hook: str, layers: tuple[int]) -> None:
    save_replication(tmp_path / "run", hook)
    assert Crosscoder.from_pretrained(tmp_path / "run", scale=(1.0, 1.0)).config.layers == layers


@pytest.mark.parametrize("rule", ["relu", "jumprelu"])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("biased", [True, False])
def test_crosscode_with_every_rule_that_has_an_equal_here(
    tmp_path: Path, rule: str, n_layers: int, biased: bool
) -> None:
    t, x = crosscode(n_layers), activations(2 * n_layers)
    scale = torch.linspace(0.05, 0.2, 2 * n_layers)
    if rule == "jumprelu":
        t[THRESHOLD] = torch.linspace(-1, 1, N_LATENTS)
    if not biased:
        del t["b_enc_L"], t["_b_dec_XoDo"]
    save_crosscode(tmp_path, t, "AnthropicSTEJumpReLUActivation" if rule == "jumprelu" else "ReLUActivation")
    crosscoder = Crosscoder.from_pretrained(tmp_path, scale=scale, layers=range(7, 7 + n_layers), device="cpu")
    b_enc = t.get("b_enc_L", torch.zeros(N_LATENTS))
    b_dec = t.get("_b_dec_XoDo", torch.zeros(2, n_layers, D_MODEL)).flatten(0, 1)
    encoder, decoder = t["_W_enc_XiDiL"].flatten(0, 1), t["_W_dec_LXoDo"].flatten(1, 2)
    threshold = t[THRESHOLD].exp() if rule == "jumprelu" else None
    check(crosscoder, x, *reference(encoder, b_enc, decoder, b_dec, x, scale, threshold))
    assert crosscoder.config.layers == tuple(range(7, 7 + n_layers))
    assert crosscoder.config.n_streams == 2 * n_layers


@pytest.mark.parametrize("rule", ["relu", "jumprelu"])
def test_crosscode_saved_as_its_trainers_do_takes_raw_activations(tmp_path: Path, rule: str) -> None:
    t, x, scale = crosscode(2), activations(4), torch.tensor([[0.05, 0.1], [0.3, 0.2]])
    threshold = None
    if rule == "jumprelu":
        t[OLDER_THRESHOLD] = torch.linspace(-1, 1, N_LATENTS)
        threshold = t[OLDER_THRESHOLD].exp()
    encoder, decoder = t["_W_enc_XiDiL"].flatten(0, 1), t["_W_dec_LXoDo"].flatten(1, 2)
    expected = reference(encoder, t["b_enc_L"], decoder, t["_b_dec_XoDo"].flatten(0, 1), x, scale.flatten(), threshold)
    crosscoder = Crosscoder.from_pretrained(save_crosscode(tmp_path, folded(t, scale), "ReLUActivation"), device="cpu")
    check(crosscoder, x, *expected)
    assert crosscoder.config.scale == pytest.approx((0.05, 0.1, 0.3, 0.2))
    with pytest.raises(ValueError, match=r"states its own scale \[0.05.*\]: leave out scale="):
        Crosscoder.from_pretrained(tmp_path, scale=(2.0, 2.0, 2.0, 2.0))


def test_crosscode_folded_by_unknown_factors_is_refused(tmp_path: Path) -> None:
    t = crosscode(1) | {"is_folded": torch.tensor(True)}
    with pytest.raises(ValueError, match="expected the same positive ones; save it unfolded"):
        Crosscoder.from_pretrained(save_crosscode(tmp_path, t, "ReLUActivation"))


def test_crosscode_without_settings_is_assumed_to_be_a_relu(tmp_path: Path) -> None:
    save_crosscode(tmp_path, crosscode(1), "ReLUActivation")
    assumed = "rule: ReLU (assumed, no model_cfg.yaml)"
    assert assumed not in Crosscoder.from_pretrained(tmp_path, scale=(1.0, 1.0)).assumptions
    (tmp_path / "model_cfg.yaml").write_text("d_model: 5\n")
    no_rule = "rule: ReLU (assumed, none in model_cfg.yaml)"
    assert no_rule in Crosscoder.from_pretrained(tmp_path, scale=(1.0, 1.0)).assumptions
    (tmp_path / "model_cfg.yaml").unlink()
    assert assumed in Crosscoder.from_pretrained(tmp_path, scale=(1.0, 1.0)).assumptions


def test_crosscode_that_ranks_without_decoder_norms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asks for BatchTopkActivation, which ranks"):
        Crosscoder.from_pretrained(save_crosscode(tmp_path, crosscode(), "BatchTopkActivation"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (1.0,)}, r"scale=\(1.0,\): give 2 positive factors"),
        ({"scale": (1.0, 0.0)}, "give 2 positive factors"),
        ({"scale": (1.0, float("nan"))}, "give 2 positive factors"),
        ({"scale": (1.0, 1.0), "layers": (3, 4)}, r"layers=\(3, 4\): .* reads 1 a model, give as many"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, arguments, message) -> None:
    save_replication(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        Crosscoder.from_pretrained(tmp_path / "run", **arguments)


def test_settings_that_are_not_json_are_named(tmp_path: Path) -> None:
    save_replication(tmp_path / "run")
    (tmp_path / "run" / "cfg.json").write_text("{")
    with pytest.raises(ValueError, match=r"cfg\.json is not JSON"):
        Crosscoder.from_pretrained(tmp_path / "run", scale=(1.0, 1.0))
