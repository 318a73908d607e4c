"""The resources of this machine."""

from __future__ import annotations

import os


def memory_of_machine() -> int | None:
    """Bytes; `None` where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not POSIX
        return None
