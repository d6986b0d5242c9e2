"""Python reads this as a process starts that a test started: where asked for, it has the pretended device too."""

import os
import sys
from collections.abc import Sequence
from types import ModuleType


class _AsToolkitAsks:
    """Makes the device present as `toolkit.devices` is imported: what imports no torch stays without it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "toolkit.devices":
            sys.meta_path.remove(self)
            import pretended_device

            pretended_device.stay()


if os.environ.get("TOOLKIT_TEST_DEVICE") == "pretended":
    sys.meta_path.insert(0, _AsToolkitAsks())
