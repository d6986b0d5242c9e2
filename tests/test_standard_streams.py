import io
import os
import subprocess
import sys

import pytest

from toolkit.standard_streams import SPELLED, lasting_streams, spelled

SCRIPT = """
import sys
from toolkit.standard_streams import lasting_streams
with lasting_streams():
    for _ in range(5000):
        print("λ → ν 数据 …")
print("the end", file=sys.stderr)
"""


def run(script: str = SCRIPT, **streams: int | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        stdout=streams.get("stdout", subprocess.DEVNULL),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", "10^2 x 3 >= -1 -> lambda, naive ?? ?"),
        ("latin-1", "10² × 3 >= -1 -> lambda, naïve ?? ?"),
        ("cp1252", "10² × 3 >= -1 -> lambda, naïve ?? ?"),
        ("utf-8", "10² × 3 ≥ −1 → λ, naïve 数 ?"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(encoding: str, written: str) -> None:
    assert "10² × 3 ≥ −1 → λ, naïve 数 \udc80".encode(encoding, SPELLED).decode(encoding) == written


def test_a_spelling_takes_its_room_from_the_blanks_of_its_column() -> None:
    lines = ["λ       | 1", "k       | 2", "λ | 1"]
    assert [line.encode("ascii", SPELLED) for line in lines] == [b"lambda  | 1", b"k       | 2", b"lambda | 1"]


def test_frames_bars_and_accents_have_a_look_alike() -> None:
    assert "".join(map(spelled, "╭─╮│é̂ﬁ")) == "+-+|efi"


def test_a_stream_that_others_put_in_place_takes_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding="ascii"))
    with lasting_streams():
        print("a → b")
    assert file.getvalue() == b"a -> b\n"


def test_work_goes_on_where_nobody_reads_its_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(stdout=writing)
    os.close(writing)
    assert (done.stderr, done.returncode) == ("the end\n", 0)


def test_work_goes_on_without_a_stdout() -> None:
    closed = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {SCRIPT!r}])"
    done = run(closed)
    assert (done.stderr, done.returncode) == ("the end\n", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_output_that_a_full_disk_lost_is_an_error_once_the_work_is_done() -> None:
    with open("/dev/full", "wb") as full:
        done = run(stdout=full.fileno())
    assert done.stderr.endswith(
        "the work is done, but its output could not be written: [Errno 28] No space left on device\n"
    )
    assert "Exception ignored" not in done.stderr
