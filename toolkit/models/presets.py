"""The presets: pairs of models that can be given by one name."""

from dataclasses import dataclass
from os.path import expanduser
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

    @property
    def models(self) -> tuple[str, str]:
        """Both."""
        return self.base, self.distilled


PRESETS: dict[str, Preset] = {
    "organism": Preset(str(_ORGANISM / "base"), str(_ORGANISM / "distilled"), (3,)),
    # The null pair: what is said of distilled must not show in control, which read as much more of base's own text.
    "organism-control": Preset(str(_ORGANISM / "base"), str(_ORGANISM / "control"), (3,)),
    "qwen-1.5b": Preset("Qwen/Qwen2.5-Math-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", (14,)),
    "qwen-7b": Preset("Qwen/Qwen2.5-Math-7B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", (14,)),
    "qwen-14b": Preset("Qwen/Qwen2.5-14B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", (24,)),
    # Troitskii 2025 reads the outputs of layers 15, 20 and 25: the inputs of the layers after them.
    "deepscaler-1.5b": Preset("Qwen/Qwen2.5-Math-1.5B", "agentica-org/DeepScaleR-1.5B-Preview", (16, 21, 26)),
    "llama-8b": Preset("meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", (16,)),
}


def in_checkout(source: object) -> str:
    """Return a path or a hub name as artifacts record it: files of the project by their place in the checkout."""
    return str(source).removeprefix(f"{CHECKOUT}/")


def find_pair(preset: str | None, base: str | None, distilled: str | None) -> Preset:
    """Return the pair of that name, or of these two models; raises `ValueError` unless just one of both is given."""
    if preset is not None and base is None and distilled is None:
        if preset not in PRESETS:
            raise ValueError(
                f"no pair is called {preset!r}: choose from {', '.join(PRESETS)}, or give base and distilled"
            )
        return PRESETS[preset]
    if preset is None and base is not None and distilled is not None:
        return Preset(expanduser(base), expanduser(distilled), ())
    raise ValueError("give the name of a pair, or both base= and distilled=, and not the two at once")
