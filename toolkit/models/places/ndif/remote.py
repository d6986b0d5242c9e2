"""A model without weights, whose traces become jobs on NDIF."""

from pathlib import Path

from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.modeling.transformers import TransformersModel
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file


def load_remote_model(source: str, tokenizer: PreTrainedTokenizerBase) -> TransformersModel:
    """Build the model at `source` without weights, for a server that has them."""
    if Path(source).is_dir():
        _ID_CACHE[source] = source  # else nnsight asks the hub for the name
    model = TransformersModel(source, task="text-generation", tokenizer=tokenizer, dispatch=False)
    if cached_file(source, "generation_config.json", _raise_exceptions_for_missing_entries=False) is not None:
        model._module.generation_config = GenerationConfig.from_pretrained(source)
    return model
