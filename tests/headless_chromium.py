"""Opens pages in headless Chromium, as a reader would."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --virtual-time-budget=3000 --dump-dom"
).split()

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")


def opened(address: str, profile: Path) -> str:
    """The text of a page's document once its scripts ran, tags as they stand; `profile` is a folder for Chromium."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def clicked(page: Path, *actions: str) -> Path:
    """A copy of a page on which a reader does something."""
    copy = page.with_name("clicked.html")
    script = "".join(f"setTimeout(() => {{ {action} }}, {200 * number});" for number, action in enumerate(actions, 1))
    copy.write_text(page.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8")
    return copy
