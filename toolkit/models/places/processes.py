"""The processes that the launcher started: how many there are, this one's device, and which one failed first."""

import os


def n_processes() -> int:
    """Processes that the launcher started, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the first of them, or alone."""
    return n_processes() == 1 or os.environ.get("RANK") == "0"


def own_device() -> str:
    """The device of this process among those of its machine; raises `ValueError` where they are too few."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local + 1} of this machine, which has {torch.cuda.device_count()} GPUs: start as many processes"
            " as GPUs (--nproc-per-node, --num_processes), or hide the GPUs (CUDA_VISIBLE_DEVICES=) to run on CPUs"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def is_first_to_fail() -> bool:
    """Whether this process, which has failed, is the first of its group to fail; only the first one prints why."""
    from torch import distributed

    try:
        return bool(distributed.distributed_c10d._get_default_store().add("failures", 1) == 1)
    except RuntimeError:  # the process that kept the store has ended, so it failed earlier
        return False
