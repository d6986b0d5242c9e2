"""The models that a server of NDIF hosts. Imports nothing heavy."""

import json
import time
from collections.abc import Sequence
from typing import Any

import httpx

from toolkit.models.places.ndif.transport import RemoteJobError, Transport
from toolkit.terminal_text import one_line

STATUS_BYTES = 2**22
LISTED = 20


def hosted_models(transport: Transport, seconds: float) -> list[str] | None:
    """Names of the models that a server says it has deployed; None where it does not say.

    Raises `httpx.TransportError` for a host that cannot be reached within `seconds`.
    """
    try:
        answer = transport.ask("GET", "/status", ends=time.monotonic() + seconds, limit=STATUS_BYTES)
        deployments = json.loads(answer.content)["deployments"].values() if answer.status == 200 else None
    except (RemoteJobError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # another answer than NDIF's
    if deployments is None:
        return None
    names = {each["repo_id"] for each in deployments if _is_deployed(each)}
    return sorted(one_line(name, 200) for name in names)


def listed(models: Sequence[str]) -> str:
    """Return the names of the first few models, as text for an error."""
    more = f" and {len(models) - LISTED} more" if len(models) > LISTED else ""
    return (", ".join(models[:LISTED]) or "no model at all") + more


def unreachable(host_name: str, error: httpx.TransportError) -> ValueError:
    """The error that says which host did not answer, and why."""
    why = one_line(str(error)) or type(error).__name__
    return ValueError(f"no NDIF server at {host_name}: {why}. Check NDIF_HOST and the network")


def _is_deployed(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("repo_id"), str):
        return False
    own_revision = entry.get("revision") in (None, "", "main")  # a job for another would name it
    return own_revision and entry.get("deployment_level", "HOT") in ("HOT", "WARM")
