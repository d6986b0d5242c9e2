"""How the latents of an adapter are called: `layer/index` for people, layer × latents + index where all are in line."""

import re
from collections.abc import Iterable

from toolkit.adapters.modes import Latent
from toolkit.dictionaries.transcoders import AdapterConfig


def latent_name(latent: Latent) -> str:
    """Return `layer/index`."""
    return "/".join(map(str, latent))


def latent_number(latent: Latent, n_latents: int) -> int:
    """Return the place of a latent in a line of all layers' latents."""
    layer, index = latent
    return layer * n_latents + index


def numbered_latent(number: int, n_latents: int) -> Latent:
    """Return the latent at a place in that line."""
    return divmod(number, n_latents)


def parse_latents(names: Iterable[str], adapter: AdapterConfig) -> tuple[Latent, ...]:
    """Return the latents that are called `layer/index`, each once.

    Raises `ValueError` for a name of another form, and for a layer or a latent that the adapter does not have.
    """
    return tuple(dict.fromkeys(_parsed(name, adapter) for name in names))


def _parsed(name: str, adapter: AdapterConfig) -> Latent:
    if not (found := re.fullmatch(r"(\d+)/(\d+)", name.strip())):
        raise ValueError(f"latent {name!r}: give layer/index, such as 3/17")
    return check_latent((int(found[1]), int(found[2])), adapter)


def check_latent(latent: Latent, adapter: AdapterConfig) -> Latent:
    """Return the latent; raises `ValueError` where the adapter does not have it."""
    layer, index = latent
    if not (0 <= layer < adapter.n_layers and 0 <= index < adapter.n_latents):
        raise ValueError(
            f"latent {latent_name(latent)} does not exist: the adapter has layers 0 to {adapter.n_layers - 1}, each"
            f" with latents 0 to {adapter.n_latents - 1}"
        )
    return latent
