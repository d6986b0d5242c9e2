"""Which models a recipe reads, and where they run: this machine, piece by piece, or NDIF."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from toolkit.models.files.loading import load_config, read_config
from toolkit.models.files.model_files import MAIN
from toolkit.models.files.weight_files import check_fit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.places.here import loading_options
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import find_pair
from toolkit.models.sources import find_sources
from toolkit.models.where import Where, Wire
from toolkit.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class PairChoice:
    """Which two models."""

    pair: str | None = None
    """Models by name: organism, qwen-1.5b, qwen-7b, qwen-14b, deepscaler-1.5b or llama-8b.
    Default: those of the crosscoder that is examined, else organism."""
    base: str | None = None
    """Base model instead of --pair's: a local folder or a hub repository."""
    distilled: str | None = None
    """Distilled model instead of --pair's: a local folder or a hub repository."""


@dataclass(frozen=True, kw_only=True)
class ModelAccess:
    """Where models run, and how."""

    dtype: str = "auto"
    """Type of the models' weights: auto (as saved on a GPU, float32 on a CPU), float32, bfloat16 or float16.
    On a CPU bfloat16 takes half the memory of auto."""
    device_map: str = "auto"
    """Where the models are placed: auto, cpu, cuda, cuda:1, ..."""
    max_memory: str | None = None
    """Weights of each model that may stay on a device, as 2GB; the rest is read from the disk at every pass."""
    offload_folder: Path | None = None
    """Folder for a copy of that rest; needed only where the models' own files are no .safetensors, or hold experts."""
    tensor_parallel: bool = False
    """Split each layer over the processes that torchrun started, one a GPU; the first of them runs the recipe."""
    remote: bool = False
    """Run the models on NDIF instead of this machine; NDIF_API_KEY holds the key, NDIF_HOST another server."""
    jobs: int = 4
    """Jobs in flight at once on NDIF."""
    wire: Wire = "bf16"
    """Type in which NDIF sends activations back; int8 has a scale per token."""
    deadline: float = 600.0
    """Seconds after which a job on NDIF is given up and sent again."""
    insecure_host: str | None = None
    """Server of NDIF_HOST that may be sent the key over plain http, by name; only this machine's needs no such word."""

    def __post_init__(self) -> None:
        check_ranges(self)
        where = self.where()
        if self.tensor_parallel:
            where.check_used()
        for name in ("base", "distilled"):
            loading_options(where.of(name))

    def where(self) -> Where:
        """Where the models run; raises `ValueError` for values out of range."""
        return Where(**{each.name: getattr(self, each.name) for each in fields(Where) if hasattr(self, each.name)})

    def open_model(self, source: str, tokenizer: PreTrainedTokenizerBase) -> TracedModel:
        """Load one model, whole; raises `ValueError` as `ModelPair.from_pretrained`."""
        return open_model(source, tokenizer, self.where())


@dataclass(frozen=True, kw_only=True)
class ModelsChoice(ModelAccess, PairChoice):
    """Which two models, and where they run."""

    base_device: str | None = None
    """Device of the base model alone, such as cuda:0."""
    distilled_device: str | None = None
    """Device of the distilled model alone, such as cuda:1."""
    sequential: bool = False
    """Keep one model in memory at a time: it reads 131,072 tokens, then the other model does."""

    def access(self) -> dict[str, Any]:
        """Where the models run, without which they are: for another config that reads models alike."""
        which = {each.name for each in fields(PairChoice)}
        return {each.name: getattr(self, each.name) for each in fields(ModelsChoice) if each.name not in which}

    def open_pair(self, layers: Sequence[int] | None = None, *, depth: int | None = None) -> ModelPair:
        """Load the pair, as deep as `depth` if that is given; raises `ValueError` as `ModelPair.from_pretrained`."""
        chosen = find_pair(self.pair, self.base, self.distilled)
        sources = find_sources({"base": chosen.base, "distilled": chosen.distilled})
        return ModelPair.open(sources, layers=layers or chosen.layers or None, where=self.where(), depth=depth)

    def open_to_site(self, layers: Sequence[int] | None = None) -> ModelPair:
        """Load no more than reading needs: the embeddings and the layers before the last site.

        Raises `ValueError` too where the models' files lack what `open_whole` will load, as an LM head.
        """
        sources = find_pair(self.pair, self.base, self.distilled)
        layers = layers or sources.layers or (load_config(sources.base).num_hidden_layers // 2,)
        for source in () if self.remote else (sources.base, sources.distilled):
            check_fit(source, read_config(source), MAIN, head=True)
        return self.open_pair(layers, depth=max(layers))

    def open_whole(self, read: ModelPair) -> ModelPair:
        """Load all of a pair that was opened to its site, in place of it: `read` lets its weights go."""
        if self.remote:
            return read
        read.let_go()
        return self.open_pair(read.layers)


NOT_OF_THE_RESULT = (
    "device_map",
    "base_device",
    "distilled_device",
    "max_memory",
    "offload_folder",
    "sequential",
    "tensor_parallel",
    "remote",
    "jobs",
    "deadline",
    "insecure_host",
)
"""Settings that say where and how models run, but not what comes out."""
