"""Libraries that speak while they are imported, kept quiet."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_bitsandbytes() -> Iterator[None]:
    """A context in which bitsandbytes, which PEFT imports too, does not warn of kernels that nothing here needs."""
    logger = logging.getLogger("bitsandbytes")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
