from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_loopback import MODEL, ChatLoopback

from toolkit.annotation.evidence import Evidence, Passage
from toolkit.annotation.server import ServerAnnotator
from toolkit.annotation.server_choice import ServerChoice

Ask = Callable[..., ServerAnnotator]


@pytest.fixture
def loopback() -> Iterator[ChatLoopback]:
    with ChatLoopback().serving() as server:
        yield server


@pytest.fixture
def pauses() -> list[float]:
    """Seconds that were not waited."""
    return []


@pytest.fixture
def asking(
    loopback: ChatLoopback, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ServerAnnotator]:
    """Makes an annotator that asks the loopback server, or another one by other settings."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def ask(*, key: str | None = None, cache: str = "replies.sqlite", **settings: Any) -> ServerAnnotator:
        choice = ServerChoice(**{"base_url": loopback.url, "model": MODEL, **settings})
        return ServerAnnotator(choice, tmp_path / cache, key=key, pause=pauses.append)

    return ask


@pytest.fixture
def write_passage() -> Callable[..., Passage]:
    """Makes a passage with one token a word, and codes by the words that have one."""

    def write(text: str, **codes: float) -> Passage:
        words = text.split(" ")
        tokens = (words[0], *(f" {word}" for word in words[1:]))
        return Passage(document=0, tokens=tokens, codes=tuple(codes.get(word, 0.0) for word in words))

    return write


@pytest.fixture
def evidence_of_wait(write_passage: Callable[..., Passage]) -> Evidence:
    """A latent that fires on Wait."""
    firing = tuple(write_passage("2 . Wait , no", Wait=code) for code in (4.0, 2.0, 0.1))
    silent = tuple(write_passage(text) for text in ("so it is 4", "the cat sat", "7 and 8"))
    return Evidence(
        latent=3,
        explaining=firing,
        firing=firing,
        near=silent,
        far=silent,
        largest=4.0,
        frequency=0.01,
        promoted=((" let", 1.5), (" maybe", 1.0)),
    )
