"""Compares answers by math-verify, in a process of its own: a line of JSON with a pair comes in, a judgement goes out.

It runs as a script, so that it imports nothing of a caller's, neither torch nor the caller's main module.
"""

import json
import logging
import signal
import sys

READY = "ready"
MOST_MEMORY = 4 * 2**30  # bytes; huge powers would take all there is before their time is over


def judge(said: str, wanted: str) -> tuple[bool, str | None]:
    """Return whether two answers in LaTeX are the same mathematics, and why not where one of them cannot be read.

    A process's owner limits the time, as math-verify's own limits need the main thread and miss what C code computes.
    """
    from math_verify import parse, verify

    readings = [parse(f"${text}$", parsing_timeout=None) for text in (said, wanted)]
    for name, reading in zip(("the answer", "the right answer"), readings, strict=True):
        if all(isinstance(each, str) for each in reading):
            return False, f"math-verify cannot read {name}"
    return bool(verify(readings[1], readings[0], timeout_seconds=None)), None


def main() -> None:
    """Judge pairs until no more come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who may still want the answer
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    logging.disable()
    answers, sys.stdout = sys.stdout, sys.stderr  # what a parser prints is no judgement
    judge("1", "1")  # imports what is needed, so that the first pair's time is its own
    print(json.dumps(READY), file=answers, flush=True)
    for line in sys.stdin:
        try:
            judgement = judge(*json.loads(line))
        except Exception as error:  # whatever a parser raises costs this answer alone
            judgement = False, f"math-verify raised {type(error).__name__}"
        print(json.dumps(judgement), file=answers, flush=True)


if __name__ == "__main__":
    main()
