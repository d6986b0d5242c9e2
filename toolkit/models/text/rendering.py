"""Renders chat templates as transformers does, within limits of time and size."""

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from toolkit.models.text import rendering_process

SECONDS = 10.0
"""Time for one conversation; usual templates take a thousandth of it."""
LONGEST_TEMPLATE = 2**20
LONGEST_ADDITION = 2**20
"""Characters that a template may add to the messages; it may also write each message twice."""


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool
) -> str:
    """Lay out messages with the tokenizer's chat template; any thread may call.

    Raises `ValueError`, with the reason alone, where the template refuses them or exceeds a limit.
    """
    template = tokenizer.get_chat_template()
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"it has {len(template):,} characters, of which at most {LONGEST_TEMPLATE:,} are taken")
    options = {"chat_template": template, "add_generation_prompt": add_generation_prompt}
    said = _process.ask(
        {
            "messages": list(messages),
            "options": tokenizer.special_tokens_map | options,
            "longest": LONGEST_ADDITION + 2 * sum(len(text) for message in messages for text in message.values()),
            "seconds": SECONDS,
        }
    )
    if said is None:
        raise ValueError(f"it did not end within {SECONDS:g} seconds, or took too much memory")
    if "reason" in said:
        raise ValueError(said["reason"])
    text: str = said["text"]
    return text


class _Process:
    """The process that renders; it is started when it is first needed, and again after it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Return the process's answer, or None where the process ended before it answered."""
        with self._lock:
            if self._running is None:
                self._running = self._start()
            stdin, stdout = self._running.stdin, self._running.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            line = stdout.readline()
            if not line:
                self._end()
                return None
        said: dict[str, Any] = json.loads(line)
        return said

    def _start(self) -> "subprocess.Popen[str]":
        # -P: else modules beside the script would hide packages of the same names. A session of its own: Ctrl-C does
        # not reach the process, which ends when its input does.
        command = [sys.executable, "-P", rendering_process.__file__]
        pipe = subprocess.PIPE
        running = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        atexit.register(self._end)
        assert running.stdout is not None
        running.stdout.readline()  # the process is ready; its time starts now
        return running

    def _end(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None


_process = _Process()
