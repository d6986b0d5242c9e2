"""Checks what --remote needs before anything slow begins: a key, a server that answers, a pair that it hosts."""

import sys
from collections.abc import Sequence

import httpx

from toolkit.harvest.choices import EMBEDDED, EMBEDDED_NULL
from toolkit.models.places.ndif.address import find_host, find_key
from toolkit.models.places.ndif.hosting import hosted_models, listed, unreachable
from toolkit.models.places.ndif.transport import SLOWEST_CONNECTION, Transport
from toolkit.models.presets import PRESETS

FIRST_CONNECTION = 1.5
USUAL = "llama-8b"
"""The pair that NDIF itself hosts, for a server that does not say what it has."""


def check_remote(insecure_host: str | None) -> None:
    """Raise `ValueError` where there is no key for NDIF, or no server of it that answers."""
    find_key()
    _reach(insecure_host)


def hosted_pair(insecure_host: str | None) -> str:
    """Return the first pair with a name whose two models the server of NDIF has, and say on stderr which and why.

    Raises `ValueError` where it has none, with what it has, and as `check_remote`.
    """
    find_key()
    transport = _reach(insecure_host)
    hosted = _hosted(transport)
    if hosted is None:
        print(f"--remote without a pair: {USUAL}; {transport.name} does not say what it hosts", file=sys.stderr)
        return USUAL
    named = {name: pair for name, pair in PRESETS.items() if name not in (EMBEDDED, EMBEDDED_NULL)}
    for name, pair in named.items():
        if set(pair.models) <= set(hosted):
            why = f"{transport.name} hosts {pair.base} and {pair.distilled}"
            print(f"--remote without a pair: {name}, as {why}", file=sys.stderr)
            return name
    raise ValueError(
        f"{transport.name} hosts no pair that has a name ({', '.join(named)}); it hosts {listed(hosted)}."
        f" Name two that read the same tokens: --remote --base {_or(hosted, 0, 'BASE')} --distilled"
        f" {_or(hosted, 1, 'DISTILLED')}"
    )


def check_hosted(models: Sequence[str], insecure_host: str | None, remedy: str) -> None:
    """Raise `ValueError`, with a remedy, where the server of NDIF says that it lacks one of these models."""
    transport = _reach(insecure_host)
    hosted = _hosted(transport)
    if hosted is not None and (missing := sorted(set(models) - set(hosted))):
        raise ValueError(f"{transport.name} does not host {' and '.join(missing)}, but {listed(hosted)}: {remedy}")


def _reach(insecure_host: str | None) -> Transport:
    transport = Transport(find_host(insecure_host))
    try:
        transport.reach(FIRST_CONNECTION)
    except httpx.TransportError as error:
        raise unreachable(transport.name, error) from None
    return transport


def _hosted(transport: Transport) -> list[str] | None:
    try:
        return hosted_models(transport, SLOWEST_CONNECTION)
    except httpx.TransportError:  # it was reached a moment ago: it is slow to say, or busy
        return None


def _or(models: Sequence[str], place: int, otherwise: str) -> str:
    return models[place] if len(models) > 1 else otherwise
