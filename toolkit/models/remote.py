"""Where NDIF is, what it is asked for, and a model without weights whose traces become jobs there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.modeling.transformers import TransformersModel
from nnsight.schema.config import CONFIG
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

Wire = Literal["fp32", "bf16", "int8"]

KEY_PAGE = "https://login.ndif.us"


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

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"--jobs {self.jobs}: must be at least 1 (4 is usual)")
        if not self.deadline > 0:
            raise ValueError(f"--deadline {self.deadline}: must be above 0 seconds (600 is usual)")


def find_host() -> str:
    """Return NDIF's address: `NDIF_HOST`, else nnsight's config; raises `ValueError` for one without http(s)."""
    host = (os.environ.get("NDIF_HOST") or CONFIG.API.HOST).rstrip("/")
    if not host.startswith(("http://", "https://")):
        named = host.rpartition("@")[2]  # what stands before it may be a password
        raise ValueError(f"NDIF_HOST {named!r}: must start with http:// or https://, as https://api.ndif.us does")
    return host


def find_key() -> str:
    """Return the key for NDIF: `NDIF_API_KEY`, else nnsight's config; raises `ValueError` where there is none."""
    key = (os.environ.get("NDIF_API_KEY") or CONFIG.API.APIKEY or "").strip()
    if not key:
        raise ValueError(
            f"--remote needs a key for NDIF: get one at {KEY_PAGE}, then `export NDIF_API_KEY=...`, or keep it in"
            " nnsight's own config with `nnsight login`"
        )
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the key for NDIF holds characters that no key has: copy it again from {KEY_PAGE}")
    return key


def load_remote_model(source: str, tokenizer: PreTrainedTokenizerBase) -> TransformersModel:
    """Build the model at `source` without weights, for a server that has them."""
    if Path(source).is_dir():
        _ID_CACHE[source] = source  # else nnsight asks the hub for the name
    model = TransformersModel(source, task="text-generation", tokenizer=tokenizer, dispatch=False)
    if cached_file(source, "generation_config.json", _raise_exceptions_for_missing_entries=False) is not None:
        model._module.generation_config = GenerationConfig.from_pretrained(source)
    return model
