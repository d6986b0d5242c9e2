"""Models that are in memory already, as a notebook has them at hand."""

from transformers import PreTrainedModel

from toolkit.models.model.layers import layers_path
from toolkit.models.model.traced_model import TracedModel
from toolkit.tensor_files import check_finite


def as_language_model(model: object, role: str) -> PreTrainedModel:
    """Return transformers' own model of what may be wrapped by nnsight or by this toolkit.

    Raises `ValueError`, which calls it by its `role`, for anything but a causal language model ready to be read.
    """
    inner = model.model if isinstance(model, TracedModel) else model
    inner = getattr(inner, "_module", inner)  # nnsight's wrapper
    kind = type(inner).__name__
    if hasattr(inner, "peft_config") and hasattr(inner, "merge_and_unload"):
        raise ValueError(f"{role} is a {kind} of PEFT: give {role}=model.merge_and_unload()")
    if not isinstance(inner, PreTrainedModel):
        raise ValueError(f"{role} is a {kind}: give a folder, a hub name, or a model that transformers loaded")
    layers_path(inner)
    if inner.get_output_embeddings() is None:
        raise ValueError(f"{role}, a {kind}, has no LM head: load it with AutoModelForCausalLM")
    if inner.training:
        raise ValueError(f"{role} is in training mode, in which dropout changes what is read: call its eval() before")
    check_finite(f"{role}, a {kind},", dict(inner.named_parameters()))
    return inner
