"""A process that renders chat templates, started by `rendering` as a script; it kills itself at its limits.

It reads a line of JSON and answers with one. A template is a program written by the model's makers: jinja's sandbox
limits what it can reach, but not its time and memory, which only the end of a process frees.
"""

import json
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

MEMORY = 2**30  # beyond what the process takes at its start
LONGEST_REASON = 300


def answer(asked: dict[str, Any]) -> dict[str, str]:
    """The text, or the reason why there is none."""
    try:
        (text,), _ = render_jinja_template(conversations=[asked["messages"]], **asked["options"])
    except Exception as error:  # templates can raise errors of any class
        return {"reason": f"{error}"[:LONGEST_REASON] or type(error).__name__}
    if len(text) > asked["longest"]:
        return {"reason": f"it writes {len(text):,} characters, of which at most {asked['longest']:,} are taken"}
    return {"text": text}


def limit_memory() -> None:
    """Let the process take `MEMORY` more bytes; where the system does not say how much it has, only time is limited."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    limit_memory()
    print(flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, asked["seconds"])  # its signal ends the process
        said = json.dumps(answer(asked))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(said, flush=True)
