"""How NDIF is asked, and a model without weights whose traces become jobs there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.modeling.transformers import TransformersModel
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

Wire = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Remote:
    """How jobs are sent to NDIF; host and key come from `NDIF_HOST` and `NDIF_API_KEY`, or nnsight's own config."""

    jobs: int = 4
    """Jobs in flight at once."""
    wire: Wire = "bf16"
    """Type in which activations are sent back; int8 has a scale per token."""
    deadline: float = 600.0
    """Seconds after which a job is given up and sent again."""
    attempts: int = 5
    """How often a job is sent before the run stops; the pauses between add up to a fifth of the deadline."""
    insecure_host: str | None = None
    """Host that may be sent the key over plain http, by name; any other but this machine is asked over https."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"--jobs {self.jobs}: must be at least 1 (4 is usual)")
        if not self.deadline > 0:
            raise ValueError(f"--deadline {self.deadline}: must be above 0 seconds (600 is usual)")


def load_remote_model(source: str, tokenizer: PreTrainedTokenizerBase) -> TransformersModel:
    """Build the model at `source` without weights, for a server that has them."""
    if Path(source).is_dir():
        _ID_CACHE[source] = source  # else nnsight asks the hub for the name
    model = TransformersModel(source, task="text-generation", tokenizer=tokenizer, dispatch=False)
    if cached_file(source, "generation_config.json", _raise_exceptions_for_missing_entries=False) is not None:
        model._module.generation_config = GenerationConfig.from_pretrained(source)
    return model
