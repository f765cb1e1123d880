"""How many threads compute: PyTorch's number, with or without PyTorch."""

import os
import sys
from pathlib import Path

__all__ = ["cpu_threads", "set_cpu_threads"]

VARIABLE = "OMP_NUM_THREADS"
TOPOLOGY = Path("/sys/devices/system/cpu")


def cpu_threads() -> int:
    """Threads that PyTorch computes with, where it is loaded.

    Else, as it would choose, the first number in ``OMP_NUM_THREADS`` or the processor cores that
    this process may use.
    """
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    first = os.environ.get(VARIABLE, "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else _cores()


def set_cpu_threads(count: int) -> None:
    """Compute with so many threads from here on, also in what is loaded later."""
    os.environ[VARIABLE] = str(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def _cores() -> int:
    """Cores, of which each may look like two processors."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    mine = os.sched_getaffinity(0)
    try:
        places = (TOPOLOGY / f"cpu{n}/topology/thread_siblings_list" for n in mine)
        return len({place.read_text() for place in places})
    except OSError:
        return len(mine)
