"""Which transcoder adapter an experiment examines: a part of its settings."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.presets import CHECKOUT

SHIPPED_ADAPTER = CHECKOUT / "artifacts" / "adapter"


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterChoice(ShortRepr):
    """Which adapter is examined."""

    run: Path = SHIPPED_ADAPTER
    """Run folder of train_adapter.py, any folder with an adapter, or a published checkpoint in a folder or by its hub
    name; default: the shipped one."""
    other_models: bool = False
    """Accept models of other weights than those that the adapter was trained on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", Path(self.run))  # Python may give a string
