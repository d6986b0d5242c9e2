"""The address of NDIF, the key for it, and the addresses that may hold its results. Imports nothing heavy."""

import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import yaml

KEY_PAGE = "https://login.ndif.us"
DEFAULT_HOST = "https://api.ndif.us"


def find_host(insecure_host: str | None = None) -> str:
    """Return NDIF's address, without a slash at its end: `NDIF_HOST`, else nnsight's config.

    Where no scheme is given, it is https, or http on this machine.
    Raises `ValueError` for text that is not an address, for an address with a password, and for plain http to any host
    but this machine and `insecure_host`.
    """
    given = (os.environ.get("NDIF_HOST") or _nnsight_setting("HOST") or DEFAULT_HOST).strip()
    address = given if "://" in given else f"https://{given}"
    parts = _split(address)
    shown = f"NDIF_HOST {given.rpartition('@')[2].partition('?')[0]!r}"  # the rest may be secret
    if parts is None or parts.query or parts.fragment:
        raise ValueError(f"{shown}: must be the address of a server, as {DEFAULT_HOST} is")
    if parts.username is not None:
        raise ValueError(f"{shown}: must not hold a user name or a password; the key in NDIF_API_KEY says who you are")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{shown}: must start with https:// (or http:// on this machine), as {DEFAULT_HOST} does")
    if "://" not in given and is_here(parts):
        parts = parts._replace(scheme="http")
    if parts.scheme == "http" and not is_here(parts) and parts.hostname != (insecure_host or "").lower():
        raise ValueError(
            f"{shown}: over plain http anyone on the way can read the key. Write https://, or, if you trust the"
            f" network, name the host: --insecure-host {parts.hostname}"
        )
    return parts.geturl().rstrip("/")


def find_key() -> str:
    """Return the key for NDIF: `NDIF_API_KEY`, else nnsight's config; raises `ValueError` where there is none."""
    key = (os.environ.get("NDIF_API_KEY") or _nnsight_setting("APIKEY")).strip()
    if not key:
        raise ValueError(
            f"NDIF needs a key: get one at {KEY_PAGE}, then `export NDIF_API_KEY=...`, or keep it in"
            " nnsight's own config with `nnsight login`"
        )
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the key for NDIF holds characters that no key has: copy it again from {KEY_PAGE}")
    return key


def may_hold_result(address: str, host: str) -> bool:
    """Whether a result may be fetched, without the key, from an address that the server at `host` names.

    The result may be on another host, as object stores are. Its address may use plain http only where the server's
    address does, and may be on this machine only where the server is.
    """
    parts, server = _split(address), urlsplit(host)
    if parts is None or parts.scheme not in ("https", server.scheme) or parts.username is not None:
        return False
    number = _number(parts)
    own = is_here(parts) or (number is not None and (number.is_link_local or number.is_unspecified))
    return is_here(server) or not own


def is_here(parts: SplitResult) -> bool:
    """Whether an address is of this machine."""
    number = _number(parts)
    return number.is_loopback if number else parts.hostname == "localhost"


def _number(parts: SplitResult) -> IPv4Address | IPv6Address | None:
    try:
        number = ip_address(parts.hostname or "")
    except ValueError:  # a name
        return None
    return getattr(number, "ipv4_mapped", None) or number


def _split(address: str) -> SplitResult | None:
    """The parts of an address that names a host; None for any other text."""
    try:
        parts = urlsplit(address)
        named = parts.hostname and parts.port != 0 and address.isprintable() and " " not in address
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return parts if named else None


def _nnsight_setting(name: str) -> str:
    """Return a setting of nnsight's config: from nnsight if it is imported, which takes seconds, else from its file."""
    if "nnsight" in sys.modules:
        from nnsight.schema.config import CONFIG

        return getattr(CONFIG.API, name) or ""
    folder = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser()
    path = Path(os.environ.get("NNSIGHT_CONFIG") or folder / "nnsight" / "config.yaml").expanduser()
    if not path.is_file():
        return ""
    try:
        return str((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("API", {}).get(name) or "")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise ValueError(f"{path} is not nnsight's config: mend or remove it ({type(error).__name__})") from error
