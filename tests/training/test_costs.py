"""Costs against the truth: operations that torch counts, and the sizes of real tensors and files."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, PreTrainedConfig

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.rules import Sparsity
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.fields import changed
from toolkit.harvest.cache_shards import store
from toolkit.harvest.choices import CacheType
from toolkit.harvest.feed import ShuffleBuffer
from toolkit.models.files.loading import load_config
from toolkit.models.model.layers import layers_path
from toolkit.models.model.shapes import KNOWN, ModelShape, shape_of
from toolkit.models.pair import ModelPair
from toolkit.models.places.ndif.wire import pack
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.training.costs import PlannedRun, gradient_bytes, harvest_flops, pinned, trainer_bytes, training_flops
from toolkit.training.training_run import TrainingRun

BATCH, D_MODEL, N_STREAMS, WIDTH = 64, 24, 2, 48
REAL = "Qwen/Qwen2.5-Math-1.5B"


def counted_in_layers(config: PreTrainedConfig, layer: int, row_length: int) -> int:
    """Operations that torch counts in the first `layer` layers for one row."""
    config.num_hidden_layers, config._attn_implementation = layer, "eager"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        ids = torch.zeros(1, row_length, dtype=torch.int64)
        mask = torch.zeros(1, 1, row_length, row_length)  # a whole one: models look at values to make one
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    by_module = counter.get_flop_counts()
    path = f"{type(model).__name__}.{layers_path(model)}"
    return sum(sum(by_module[f"{path}.{number}"].values()) for number in range(layer))


def test_harvest_takes_the_operations_that_torch_counts(any_folder: Path):
    counted = counted_in_layers(load_config(str(any_folder)), 3, 20)
    assert 20 * harvest_flops(shape_of(str(any_folder)), 3, 20) == counted


def test_harvest_of_a_real_shape_takes_the_operations_that_torch_counts():
    counted = counted_in_layers(deepcopy(KNOWN[REAL]), 14, 2048)
    assert 2048 * harvest_flops(shape_of(REAL), 14, 2048) == counted


def trainer(sparsity: Sparsity, precision: str = "fp32") -> tuple[CrosscoderTrainer, Tensor]:
    """A trainer of 96 latents, and a batch for it."""
    sizes = {"n_latents": 96, "k": 5, "k_anneal_steps": 0, "batch_tokens": BATCH}
    config = TrainingConfig(sparsity=sparsity, precision=precision, kernels="torch", **sizes)  # torch counts its own
    x = torch.randn(BATCH, N_STREAMS, D_MODEL, generator=torch.Generator().manual_seed(0))
    state = initialise(config, N_STREAMS, x, torch.Generator().manual_seed(1))
    return CrosscoderTrainer(config, state, models=("base", "distilled"), layers=(3,)), x


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sparsity", ["l1", "jumprelu"])
def test_a_dense_step_takes_the_operations_that_torch_counts(sparsity: Sparsity, precision: str):
    one, x = trainer(sparsity, precision)
    with FlopCounterMode(display=False) as counter:
        one.step(x)
    assert counter.get_total_flops() == BATCH * training_flops(one.training, WIDTH)


def raw(count: Callable[..., int]) -> Callable[..., int]:
    """Have torch's counter pass tensors rather than shapes."""
    count._get_raw = True
    return count


@raw
def addmm_flops(start: Tensor, left: Tensor, right: Tensor, **_: Any) -> int:
    """Operations of a product whose left side may be sparse."""
    entries = left._nnz() if left.layout == torch.sparse_csr else left.numel()
    return 2 * entries * right.shape[1]


@raw
def sampled_flops(pattern: Tensor, left: Tensor, *_: Any, **__: Any) -> int:
    """Operations of the entries that are asked for."""
    return 2 * pattern._nnz() * left.shape[1]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0), ("tf32", 0.05), ("bf16", 0.05)])
@pytest.mark.parametrize("sparsity", ["topk", "batchtopk"])
def test_a_sparse_step_takes_the_operations_of_its_nonzeros(
    sparsity: Sparsity, precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("toolkit.dictionaries.precision._has_tf32", lambda device: True)
    one, x = trainer(sparsity, precision)
    counts = {torch.ops.aten.addmm: addmm_flops, torch.ops.aten.sparse_sampled_addmm: sampled_flops}
    with FlopCounterMode(display=False, custom_mapping=counts) as counter:
        metrics = one.step(x)
    assert metrics.l0 == 5
    # In tf32 and bf16 somewhat more latents are candidates than are kept.
    assert counter.get_total_flops() == pytest.approx(BATCH * training_flops(one.training, WIDTH), rel=tolerance)


@pytest.mark.parametrize("sparsity", ["l1", "jumprelu", "topk", "batchtopk"])
def test_state_and_gradients_take_the_bytes_of_their_tensors(sparsity: Sparsity):
    one, x = trainer(sparsity)
    assert trainer_bytes(one.training, WIDTH, N_STREAMS) == sum(each.nbytes for each in one.state_dict().values())
    found = one._rule.run_pass(one._batch(x))
    assert gradient_bytes(one.training, WIDTH) == sum(each.nbytes for each in found.gradients.named().values())


def planned(models: tuple[ModelShape, ...], layer: int, **changes: Any) -> PlannedRun:
    return PlannedRun(models=models, layers=(layer,), training=TrainingConfig(tokens=10_000, k=5), **changes)


def test_weights_take_the_bytes_of_the_parameters(tiny_pair: ModelPair, folders: tuple[Path, Path]):
    run = planned(tuple(shape_of(str(folder)) for folder in folders), 2, weight_bytes=4)
    for model, whole, deep in zip(
        (tiny_pair.base, tiny_pair.distilled), run.resident_bytes(), run.resident_bytes(2), strict=True
    ):
        module = model.model._module
        of_layer = sum(weight.nbytes for weight in module.model.layers[0].parameters())
        assert whole == sum(weight.nbytes for weight in module.parameters())
        assert deep == whole - 2 * of_layer - module.lm_head.weight.nbytes


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])
def test_stored_activations_take_the_bytes_of_the_stored_form(kind: CacheType):
    shape = shape_of(REAL)
    chunk = store(torch.randn(10, 2, shape.d_model), kind)
    assert planned((shape, shape), 14).stored_bytes(kind) == chunk.nbytes * 1000


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])
def test_activations_on_the_wire_take_the_bytes_that_are_sent(kind: CacheType):
    shape = shape_of(REAL)
    sent = [pack(torch.randn(10, 1, shape.d_model), kind)[:2] for _ in range(2)]  # a job a model
    assert planned((shape, shape), 14).stored_bytes(kind) == sum(part.nbytes for job in sent for part in job) * 1000


def test_the_buffer_takes_its_tensor():
    shape = shape_of(REAL)
    source = iter([torch.zeros(30, 2, shape.d_model)])
    buffer = ShuffleBuffer(
        source, capacity=30, batch_tokens=10, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0)
    )
    buffer.peek()
    assert planned((shape, shape), 14, buffer_tokens=30).buffer_bytes == buffer.nbytes


def test_a_checkpoint_takes_its_file(
    config: RunConfig, pair: ModelPair, organism_folders: tuple[str, str], open_run: Callable[..., TrainingRun]
):
    with open_run(changed(config, buffer_dtype="bf16"), pair) as run:
        next(run.steps())
        run.save()
        files = run.folder.checkpoints.newest_whole().glob("*.safetensors")
    tensors = [(name, tensor.nbytes) for file in files for name, tensor in load_file(file).items()]
    models = tuple(shape_of(folder) for folder in organism_folders)
    plan = PlannedRun(
        models=models, layers=pair.layers, training=config.training, buffer_tokens=config.feed.buffer_tokens
    )
    taken = config.training.batch_tokens * plan.buffer_bytes // plan.buffer_tokens  # by the first step, from the buffer
    beside = [size for name, size in tensors if name.endswith(("generator", "pending"))]
    assert beside
    assert plan.checkpoint_bytes - taken + sum(beside) == sum(size for _, size in tensors)
    states = [size for name, size in tensors if name.startswith("crosscoder/")]
    assert plan.copy_bytes == sum(map(pinned, states)) + pinned(plan.buffer_bytes)
