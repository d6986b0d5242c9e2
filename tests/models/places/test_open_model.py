"""A model is opened whole or in part, with its weights in memory or on the disk, and reads the same."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, PreTrainedTokenizerFast

from toolkit.artifacts import DiskFullError
from toolkit.models.files.model_files import Hub
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Edit
from toolkit.models.model.layers import site_modules
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import target_at_end
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model.unembedding import direction_logits
from toolkit.models.places.open_model import open_model
from toolkit.models.where import Where

Batch = tuple[Tensor, Tensor]
ON_CPU = Where(device_map="cpu")
SHIFT = 3.0


def opened(folder: Path, where: Where = ON_CPU, **options: object) -> TracedModel:
    return open_model(str(folder), load_tokenizer(str(folder)), where, **options)


def shift(residual: Tensor) -> Tensor:
    return residual + SHIFT


def weights(model: TracedModel) -> dict[str, Tensor]:
    return dict(model.model._module.named_parameters())


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_the_first_layers_alone_read_what_the_whole_model_reads(any_folder: Path, depth: int, batch: Batch) -> None:
    sites = range(depth + 1)
    whole, part = opened(any_folder), opened(any_folder, depth=depth)
    for ours, theirs in zip(part.residual(*batch, sites), whole.residual(*batch, sites), strict=True):
        assert torch.equal(ours, theirs)
    edit = Edit(layer=depth, function=shift)
    assert torch.equal(part.residual(*batch, [depth], edit=edit)[0], whole.residual(*batch, [depth], edit=edit)[0])
    assert (part.n_layers, part.d_model, part.vocab_size, part.context) == (4, 32, 50, 64)
    assert len(site_modules(part.model)) == depth + 1


def test_later_layers_and_the_head_are_not_in_memory(folders: tuple[Path, Path]) -> None:
    whole, part = opened(folders[0]), opened(folders[0], depth=2)
    left_out = sum(w.numel() for name, w in weights(whole).items() if "layers.2" in name or "layers.3" in name)
    left_out += whole.model._module.lm_head.weight.numel()
    in_memory = [sum(w.numel() for w in weights(model).values()) for model in (whole, part)]
    assert in_memory[1] == in_memory[0] - left_out


def test_the_text_half_of_a_multimodal_gemma(
    tmp_path: Path, make_tokenizer: Callable[..., PreTrainedTokenizerFast], batch: Batch
) -> None:
    text = Gemma3TextConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=50, max_position_embeddings=64,
    )  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=49)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    whole, part = opened(tmp_path), opened(tmp_path, depth=2)
    assert torch.equal(part.residual(*batch, [2])[0], whole.residual(*batch, [2])[0])
    assert (part.n_layers, part.depth) == (4, 2)


def test_what_lies_behind_the_layers_that_were_loaded_is_refused(folders: tuple[Path, Path], batch: Batch) -> None:
    part = opened(folders[0], depth=2)
    message = r"first 2 of 4 layers were loaded.*load the whole model, without depth="
    for ask in (
        lambda: part.residual(*batch, [3]),
        lambda: part.selected(*batch, batch[1].bool(), [1, 3]),
        lambda: part.residual(*batch, [2], edit=Edit(layer=3, function=shift)),
        lambda: part.logits(*batch),
        lambda: measure(part, *batch, [None], target_at_end, (batch[0][:, 0],)),
        lambda: part.generate("w1 w2"),
        lambda: direction_logits(part, torch.ones(1, 32)),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(ValueError, match="layer 4 is out of range: the model has 4"):
        part.residual(*batch, [4])


@pytest.mark.parametrize("depth", [None, 2])
def test_weights_left_on_the_disk_change_nothing(any_folder: Path, depth: int | None, batch: Batch) -> None:
    whole = opened(any_folder)
    offloaded = opened(any_folder, Where(device_map="cpu", max_memory="60KB"), depth=depth)
    away = [name for name, weight in weights(offloaded).items() if weight.device.type == "meta"]
    assert 0 < len(away) < len(weights(offloaded))
    assert offloaded.device == torch.device("cpu")
    assert torch.equal(offloaded.residual(*batch, [2])[0], whole.residual(*batch, [2])[0])
    edit = Edit(layer=1, function=shift)
    assert torch.equal(offloaded.residual(*batch, [2], edit=edit)[0], whole.residual(*batch, [2], edit=edit)[0])
    if depth is None:
        assert torch.equal(offloaded.logits(*batch, edit=edit), whole.logits(*batch, edit=edit))
        sampling = Sampling(new_tokens=4)
        rows = [[1, 2, 3], [4, 5]]
        assert offloaded.generate_ids(rows, edit=edit, sampling=sampling) == whole.generate_ids(
            rows, edit=edit, sampling=sampling
        )


def test_nothing_is_written_where_the_disk_holds_safetensors(
    folders: tuple[Path, Path], tmp_path: Path, batch: Batch
) -> None:
    for dtype in ("float32", "bfloat16"):  # the files hold float32
        where = Where(device_map="cpu", max_memory="60KB", offload_folder=tmp_path / "away", dtype=dtype)
        whole = opened(folders[0], Where(device_map="cpu", dtype=dtype))
        assert torch.equal(opened(folders[0], where).residual(*batch, [3])[0], whole.residual(*batch, [3])[0])
    assert not list((tmp_path / "away").iterdir())


@pytest.fixture
def pickled(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A checkpoint of the old kind, which cannot be read in place."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders[0] / name).read_bytes())
    torch.save(load_file(folders[0] / "model.safetensors"), tmp_path / "pytorch_model.bin")
    return tmp_path


def test_other_files_are_written_anew_into_the_offload_folder(
    folders: tuple[Path, Path], pickled: Path, tmp_path: Path, batch: Batch
) -> None:
    away = tmp_path / "away"
    offloaded = opened(pickled, Where(device_map="cpu", max_memory="60KB", offload_folder=away))
    assert list(away.glob("*.safetensors"))
    assert torch.equal(offloaded.logits(*batch), opened(folders[0]).logits(*batch))


def test_an_offload_folder_without_room(
    pickled: Path, tmp_path: Path, small_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    away = tmp_path / "away"
    with small_disk(), pytest.raises(DiskFullError, match=r"no room left to write to .*away.*another --offload-folder"):
        opened(pickled, Where(device_map="cpu", max_memory="60KB", offload_folder=away))


def test_no_offload_folder_where_one_is_needed(pickled: Path) -> None:
    with pytest.raises(ValueError, match="provide an `offload_folder`"):
        opened(pickled, Where(device_map="cpu", max_memory="60KB"))


def test_a_limit_below_the_embedding_is_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"max_memory 4KB leaves no room for the embedding.*6.4e-06 GB"):
        opened(folders[0], Where(device_map="cpu", max_memory="4KB"))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="its memory counts too")
def test_weights_for_which_there_is_no_room_are_told_of(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, batch: Batch
) -> None:
    whole, free = opened(folders[0]), psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=60_000))
    with pytest.warns(UserWarning, match=r"no room for all weights of .* as float32: .* from the disk .*--sequential"):
        part = opened(folders[0], Where())
    assert torch.equal(part.logits(*batch), whole.logits(*batch))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=4_000))
    with pytest.raises(ValueError, match=r"what is free leaves no room for the embedding.*6.4e-06 GB"):
        opened(folders[0], Where())


def test_weights_left_on_the_disk_are_no_news_to_who_asked(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    opened(folders[0], Where(device_map="cpu", max_memory="60KB"))
    assert not caplog.records


def test_weights_that_no_file_holds_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for depth in (None, 2):
        with pytest.raises(ValueError, match=r"lack 1 tensors, such as .*layers.1.mlp.up_proj.weight"):
            opened(tmp_path, depth=depth)
    opened(tmp_path, depth=1)


def test_sharded_files(folders: tuple[Path, Path], tmp_path: Path, batch: Batch) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders[0] / name).read_bytes())
    tensors = load_file(folders[0] / "model.safetensors")
    parts = {"early": {}, "late": {}}
    for name, tensor in tensors.items():
        parts["late" if "layers.2" in name or "layers.3" in name or "head" in name else "early"][name] = tensor
    for part, held in parts.items():
        save_file(held, tmp_path / f"{part}.safetensors", metadata={"format": "pt"})
    index = {name: f"{part}.safetensors" for part, held in parts.items() for name in held}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    whole = opened(folders[0])
    assert torch.equal(opened(tmp_path, depth=2).residual(*batch, [2])[0], whole.residual(*batch, [2])[0])


def test_a_revision_is_refused_where_the_server_chooses_it(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="revision 'v2': NDIF serves the newest"):
        opened(folders[0], Where(remote=True), hub=Hub(revision="v2"))
