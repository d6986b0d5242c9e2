"""Time of a step of an adapter's training against the forward and backward passes that it needs.

The floor is three forward and two backward passes as plain transformers runs them: one of the distilled model without
gradients; one of the adapted model, whose transcoders are two dense products a layer, with its backward pass; and of
each model one through the upper half of the layers, with its backward pass. Every pass ends in the head's logits, and
every backward pass starts from given gradients of them; only transcoders' weights get gradients. The floor has no loss,
no metrics and no optimiser. The step changes over at half depth, so that it computes these passes and no others.

The models have the embedded pair's shape and random weights, and read its text. On a GPU see gpu_adapter.py.
"""

from collections.abc import Callable
from functools import cache
from itertools import islice

import torch
from timing import time_in_turn
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from toolkit.adapters.adapted_model import AdaptedModel, decoder_layers
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.trainer import AdapterStep, AdapterTrainer
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.models.files.loading import load_config
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.layers import truncated
from toolkit.models.presets import PRESETS
from toolkit.models.text.rows import padded
from toolkit.organism.corpus import documents

N_LATENTS, L0, ROWS, ROUNDS = 512, 4, 4, 7
Rows = tuple[Tensor, Tensor]
"""Ids and mask of documents."""


@cache
def seconds() -> dict[str, float]:
    """Measure each side once a process: CPU seconds a step."""
    return time_in_turn(sides(), ROUNDS)


def ratios() -> dict[str, float]:
    """Return each step's time as a multiple of its passes' time."""
    floor, trained, started = seconds().values()
    return {"adapter_step_over_passes": trained / floor, "first_adapter_step_over_passes": started / floor}


def sides() -> dict[str, Callable[[], object]]:
    """Return what is timed: the floor, and a step when few latents fire and when half of them do."""
    config, rows, cpu = load_config(PRESETS["organism"].base), text(), torch.device("cpu")
    return {
        "adapter step: floor, 3 forwards and 2 backwards": passes(config, N_LATENTS, rows, cpu),
        f"adapter step: {L0} latents fire a token": step(config, N_LATENTS, rows, cpu, l0=L0),
        "adapter step: half of the latents fire": step(config, N_LATENTS, rows, cpu, l0=None),
    }


def text() -> Rows:
    """Documents of the embedded pair that think aloud."""
    tokenizer = load_tokenizer(PRESETS["organism"].base)
    return padded([tokenizer(each.text)["input_ids"] for each in islice(documents("thinking", seed=5), ROWS)])


class PlainMLP(nn.Module):
    """An MLP and a transcoder as two dense products, in the MLP's type."""

    def __init__(self, mlp: nn.Module, d_model: int, n_latents: int) -> None:
        super().__init__()
        self.mlp, like = mlp, next(mlp.parameters())
        self.encoder = nn.Linear(d_model, n_latents).to(like)
        self.decoder = nn.Linear(n_latents, d_model).to(like)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) + self.decoder(torch.relu(self.encoder(x)))


def passes(
    config: PreTrainedConfig, n_latents: int, rows: Rows, device: torch.device, *, recompute: bool = False
) -> Callable[[], None]:
    """Return the floor; with `recompute`, plain transformers keeps a layer's input alone for its backward pass."""
    ids = rows[0].to(device)
    half = truncated(config, config.num_hidden_layers // 2)
    distilled, upper = random_model(config, device), random_model(half, device)
    adapted, adapted_upper = (with_plain_mlps(random_model(each, device), n_latents) for each in (config, half))
    for each in (upper, adapted, adapted_upper) if recompute else ():
        plain_recompute(each)
    stream = distilled.get_input_embeddings()(ids).detach()
    pulled = torch.randn(*ids.shape, config.vocab_size, device=device, dtype=stream.dtype)

    def run() -> None:
        with torch.no_grad():
            distilled(input_ids=ids, use_cache=False)
        adapted(input_ids=ids, use_cache=False).logits.backward(pulled)
        leaf = stream.clone().requires_grad_()
        upper(inputs_embeds=leaf, use_cache=False).logits.backward(pulled)
        adapted_upper(inputs_embeds=stream, use_cache=False).logits.backward(pulled)
        for each in (adapted, adapted_upper):
            each.zero_grad()

    return run


def plain_recompute(model: PreTrainedModel) -> None:
    """Let transformers keep a layer's input alone, which it does of models in training mode only."""
    name = "activation_checkpointing_enable"  # the older name warns where this one is
    enable = getattr(model.train(), name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def random_model(config: PreTrainedConfig, device: torch.device, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A frozen model of this shape, in bf16 on a GPU."""
    with device:
        on_gpu = torch.bfloat16 if device.type == "cuda" else torch.float32
        return AutoModelForCausalLM.from_config(config, dtype=dtype or on_gpu).eval().requires_grad_(False)


def with_plain_mlps(model: PreTrainedModel, n_latents: int) -> PreTrainedModel:
    """The model, with a dense transcoder beside each MLP."""
    for layer in decoder_layers(model):
        layer.mlp = PlainMLP(layer.mlp, model.config.hidden_size, n_latents)
    return model


class HalfwayTrainer(AdapterTrainer):
    """Changes over at half depth in every step, as the floor does; a run draws the layer."""

    def _cutoff(self) -> int:
        return self.adapted.n_layers // 2


def step(
    config: PreTrainedConfig,
    n_latents: int,
    rows: Rows,
    device: torch.device,
    *,
    l0: int | None,
    recompute: bool = False,
) -> Callable[[], AdapterStep]:
    """Return one whole step: forward, backward, clipping, metrics and optimiser; with `l0` latents a token, or half."""
    models = {name: random_model(config, device) for name in ("base", "distilled")}
    shape = AdapterConfig(d_model=config.hidden_size, n_layers=config.num_hidden_layers, n_latents=n_latents)
    adapter = Adapter.initialised(shape, torch.Generator().manual_seed(0))
    for model in models.values():
        model.name_or_path = PRESETS["organism"].base  # whose tokenizer the adapted model takes
    adapted = AdaptedModel.from_pretrained(**models, adapter=adapter)
    if l0 is not None:
        fire(adapted, rows, l0)
    training = AdapterTrainingConfig(n_latents=n_latents, lr=1e-12, recompute=recompute)
    trainer = HalfwayTrainer(training, adapted, seed=0)
    return lambda: trainer.step(*rows)


def fire(adapted: AdaptedModel, rows: Rows, l0: int) -> None:
    """Give latents biases with which `l0` of a layer fire on a token, and decoders."""
    chance = torch.Generator().manual_seed(1)
    for transcoder, x in zip(adapted.transcoders.transcoders, adapted.mlp_inputs(*rows), strict=True):
        found = x.flatten(0, 1)[:512].float() @ transcoder.W_enc.data.t()
        transcoder.b_enc.data.fill_(-found.flatten().topk(l0 * len(found)).values[-1].item())
        transcoder.W_dec.data.copy_(torch.randn(transcoder.W_dec.shape, generator=chance) * 1e-3)
