"""A server's reply about a job: its number, its state, and the address of its result."""

import json
import re
from dataclasses import dataclass
from typing import Any

REPLY_BYTES = 2**20
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,128}")


class TryAgainError(Exception):
    """A job failed for a reason that may be absent at the next attempt."""


@dataclass(frozen=True)
class Reply:
    """The state of a job; an unknown state means that the job is still running."""

    job: str
    status: str
    description: str
    address: str
    """Address of the result, once there is one."""


def read_reply(text: str, job: str | None = None) -> Reply:
    """Read a reply about `job`, or the first of a new one; raises `TryAgainError` for any other text."""
    try:
        content: dict[str, Any] = json.loads(text)
        number, status = content["id"], content["status"]
        description, address = content.get("description") or "", content.get("data") or ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise TryAgainError("the server's answer cannot be read") from error
    # The number becomes part of an address.
    if not isinstance(number, str) or not _NUMBER.fullmatch(number) or job not in (None, number):
        raise TryAgainError("the server's answer is about another job")
    if not (isinstance(status, str) and isinstance(description, str)):
        raise TryAgainError("the server's answer cannot be read")
    if status == "COMPLETED" and not (isinstance(address, str) and address):
        raise TryAgainError("the server says that the job is done, and not where its result is")
    return Reply(number, status, description, address if isinstance(address, str) else "")
