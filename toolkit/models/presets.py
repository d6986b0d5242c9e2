"""The model pairs that have a name."""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_ORGANISM = CHECKOUT / "artifacts" / "organism"


@dataclass(frozen=True)
class Preset:
    """A base model, the model distilled from it, and the sites usually studied."""

    base: str
    """Hub name or local folder of the base model."""
    distilled: str
    """Hub name or local folder of the distilled model."""
    layers: tuple[int, ...]
    """Sites: the residual stream is read at the input of these decoder layers."""


PRESETS: dict[str, Preset] = {
    "organism": Preset(str(_ORGANISM / "base"), str(_ORGANISM / "distilled"), (3,)),
    "qwen-1.5b": Preset("Qwen/Qwen2.5-Math-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", (14,)),
    "qwen-7b": Preset("Qwen/Qwen2.5-Math-7B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", (14,)),
    "qwen-14b": Preset("Qwen/Qwen2.5-14B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", (24,)),
    # Troitskii 2025 reads the outputs of layers 15, 20 and 25: the inputs of the layers after them.
    "deepscaler-1.5b": Preset("Qwen/Qwen2.5-Math-1.5B", "agentica-org/DeepScaleR-1.5B-Preview", (16, 21, 26)),
    "llama-8b": Preset("meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", (16,)),
}
