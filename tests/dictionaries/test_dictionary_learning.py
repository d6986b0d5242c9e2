"""The format's own formulas as loops over tokens and latents, against what is read."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder

N_STREAMS, D_MODEL, N_LATENTS = 3, 5, 12


def activations() -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(40, N_STREAMS, D_MODEL, generator=generator) * torch.tensor([1.0, 2.0, 4.0])[:, None] + 0.5


def normaliser(per_stream: bool) -> dict[str, Tensor]:
    std = torch.linspace(0.5, 2, N_STREAMS * D_MODEL).view(N_STREAMS, D_MODEL)
    scale = 1.5 / std.square().sum(dim=1).sqrt() if per_stream else 1.5 / std.square().sum().sqrt()
    mean = torch.linspace(-1, 1, N_STREAMS * D_MODEL).view(N_STREAMS, D_MODEL)
    stats = {"activation_mean": mean, "activation_std": std, "activation_global_scale": scale}
    return stats | {"target_rms": torch.tensor(1.5)}


def norm(decoder: Tensor, latent: int, kind: int, alpha: tuple[float, float]) -> float:
    rows = [decoder[stream, latent].square().sum() for stream in range(N_STREAMS)]
    summed, joint = sum(row.sqrt() for row in rows), sum(rows).sqrt()
    return {1: summed, 2: joint, 3: alpha[0] * joint + alpha[1] * summed, 4: 1.0, 5: summed}[kind]


def reference(t: dict[str, Tensor], x: Tensor, kind: int = 1, alpha=(1.0, 0.1)) -> tuple[Tensor, Tensor]:
    """The codes that the format's library reports, and its reconstruction."""
    stats = [t.get(f"activation_{name}") for name in ("mean", "std")]
    is_on = all(s is not None and not s.isnan().any() for s in stats)
    mean = stats[0] if is_on else torch.zeros(N_STREAMS, D_MODEL)
    scale = t["activation_global_scale"].expand(N_STREAMS)[:, None] if is_on else torch.ones(N_STREAMS, 1)
    codes, rebuilt = torch.zeros(len(x), N_LATENTS), torch.zeros_like(x)
    for token in range(len(x)):
        seen = (x[token] - mean) * scale
        if kind == 5 and "threshold" in t and is_on:
            seen = (seen - mean) * scale  # as the library's decoupled encoder does
        out = t["decoder.bias"].clone()
        for latent in range(N_LATENTS):
            f = ((seen * t["encoder.weight"][:, :, latent]).sum() + t["encoder.bias"][latent]).clamp(min=0)
            for stream in range(N_STREAMS):
                row = t["decoder.weight"][stream, latent]
                weight = row.norm() if kind == 5 else norm(t["decoder.weight"], latent, kind, alpha)
                cut = t["threshold"].expand(N_STREAMS)[stream] if "threshold" in t else -1.0
                if f * weight > cut:
                    out[stream] += f * row
                    if kind == 5:
                        codes[token, latent] += f * weight
                    else:
                        codes[token, latent] = f * weight
        rebuilt[token] = out / scale + mean
    return codes, rebuilt


def check(crosscoder: Crosscoder, codes: Tensor, rebuilt: Tensor, x: Tensor) -> None:
    found = crosscoder.encode(x)
    if crosscoder.config.n_latents > N_LATENTS:
        found = found.unflatten(1, (N_STREAMS, N_LATENTS)).sum(dim=1)
    assert (codes > 0).float().mean() > 0.1
    torch.testing.assert_close(found, codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(crosscoder(x), rebuilt, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scaling", ["raw", "one scale", "a scale a stream"])
@pytest.mark.parametrize("threshold", [None, "unset", "set"])
def test_every_variant_gives_its_librarys_own_codes_and_reconstruction(
    tmp_path: Path, dictionary_learning_tensors, kind: int, scaling: str, threshold: str | None
) -> None:
    off = torch.full((N_STREAMS, D_MODEL), torch.nan)
    more = {"code_normalization_id": torch.tensor(kind)}
    more |= (
        {"activation_mean": off, "activation_std": off.clone()} if scaling == "raw" else normaliser("stream" in scaling)
    )
    if threshold:
        values = torch.tensor([1.5, 0.8, 1.1] if threshold == "set" else [-1.0] * 3)
        more |= {"k": torch.tensor(4, dtype=torch.int), "threshold": values if kind == 5 else values[0].clone()}
    tensors, x = dictionary_learning_tensors(**more), activations()
    save_file(tensors, tmp_path / "model.safetensors")
    crosscoder = Crosscoder.from_pretrained(tmp_path, device="cpu")
    check(crosscoder, *reference(tensors, x, kind), x)
    split = kind == 5 and threshold is not None
    assert crosscoder.config.n_latents == (N_LATENTS * N_STREAMS if split else N_LATENTS)
    assert crosscoder.config.sparsity == {None: "l1"}.get(threshold, "jumprelu" if split else "batchtopk")
    said = " ".join(crosscoder.assumptions)
    assert ("raw, no normaliser" in said) == (scaling == "raw")
    assert ("never set" in said) == (threshold == "unset")
    assert f"of kind {['crosscoder', 'sae', 'mixed', 'none', 'decoupled'][kind - 1]} (stored)" in said


def test_the_four_tensors_of_an_older_checkpoint_are_enough(tmp_path, dictionary_learning_tensors) -> None:
    tensors, x = dictionary_learning_tensors(), activations()
    torch.save({f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "ae.pt")
    crosscoder = Crosscoder.from_pretrained(tmp_path / "ae.pt", device="cpu")
    check(crosscoder, *reference(tensors, x), x)
    assert "of kind crosscoder (assumed, it is not stored)" in " ".join(crosscoder.assumptions)
    torch.testing.assert_close(crosscoder.decoder_norms().sum(dim=1), torch.ones(N_LATENTS))


def test_settings_beside_the_weights_give_what_these_do_not(tmp_path, dictionary_learning_tensors) -> None:
    tensors, x = dictionary_learning_tensors(threshold=2.0, k=4), activations()
    torch.save(tensors, tmp_path / "model_final.pt")
    trainer = {"code_normalization": "MIXED", "code_normalization_alpha_sae": 0.5, "code_normalization_alpha_cc": 0.25}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer | {"layer": 13}, "buffer": {}}))
    crosscoder = Crosscoder.from_pretrained(tmp_path, device="cpu")
    check(crosscoder, *reference(tensors, x, 3, (0.5, 0.25)), x)
    assert crosscoder.config.layers == (14,), "the output of layer 13 is the input of layer 14"
    assert crosscoder.config.k == 4


def test_a_scale_that_is_not_stored_follows_from_target_and_deviation(tmp_path, dictionary_learning_tensors) -> None:
    stored = normaliser(per_stream=True)
    tensors, x = dictionary_learning_tensors(**stored), activations()
    save_file({n: t for n, t in tensors.items() if n != "activation_global_scale"}, tmp_path / "model.safetensors")
    crosscoder = Crosscoder.from_pretrained(tmp_path, device="cpu")
    check(crosscoder, *reference(tensors, x), x)
    assert crosscoder.config.scale == pytest.approx(stored["activation_global_scale"].tolist())
    assert "target_rms / √Σ std²" in " ".join(crosscoder.assumptions)


def test_a_folder_named_after_a_layer_gives_the_layer(tmp_path, dictionary_learning_tensors) -> None:
    (tmp_path / "L15").mkdir()
    torch.save(dictionary_learning_tensors(n_streams=2), tmp_path / "L15" / "ae.pt")
    crosscoder = Crosscoder.from_pretrained(tmp_path / "L15", device="cpu")
    assert (crosscoder.config.layers, crosscoder.config.models) == ((16,), ("base", "distilled"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.weight": torch.zeros(3, 11, 5)}, r"decoder.weight of shape \(3, 11, 5\), expected \(3, 12, 5\)"),
        ({"encoder.weight": torch.zeros(3, 5)}, r"encoder.weight of shape \(3, 5\), expected 3 axes"),
        ({"encoder.bias": None}, r"lacks the tensors \['encoder.bias'\]"),
        ({"gate": torch.zeros(12)}, r"tensors of unknown meaning \['gate'\]"),
        ({"code_normalization_id": torch.tensor(6)}, "code_normalization_id 6; known are 1 to 5"),
        ({"threshold": torch.zeros(3)}, r"threshold of shape \(3,\), expected \(\)"),
        ({"threshold": torch.tensor(1.0), "k": torch.tensor(13)}, "k = 13 is more than n_latents = 12"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, dictionary_learning_tensors, change, message) -> None:
    tensors = {n: t for n, t in (dictionary_learning_tensors() | change).items() if t is not None}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        Crosscoder.from_pretrained(tmp_path)
