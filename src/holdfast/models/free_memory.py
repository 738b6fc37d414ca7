"""How much main memory is free for keys and values."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]

#: Where Linux tells a container its limit and use of memory (control groups, version 2).
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(cgroup: Path = _CGROUP) -> int:
    """Return the bytes of main memory that can be used without swapping.

    In a container with a memory limit, this is what the limit leaves if that is less than what the machine has free.
    """
    free = int(psutil.virtual_memory().available)
    try:
        left = int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text())
        # Cached files count as used, and are given up when memory is needed.
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        left += int(stat.get("inactive_file", 0))
    except (OSError, ValueError):  # no control group, or one without a limit: "max"
        return free
    return max(0, min(free, left))
