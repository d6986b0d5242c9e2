"""Every test runs offline, and with the shapes in public signatures checked."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

# nnsight mounts `.save` on `object`, which breaks beartype if it is imported later.
import beartype  # noqa: F401
from jaxtyping import install_import_hook

install_import_hook("toolkit", "beartype.beartype")
