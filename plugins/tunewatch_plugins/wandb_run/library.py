"""The W&B client library, imported once: quiet, and without what is said to others.

Heavy, and so imported only when the plugin is opened. Opens no run.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

_importing = threading.Lock()
_OF_ONE_RUN = (
    *("DESCRIPTION", "JOB_TYPE", "NAME", "NOTES", "RESUME", "RUN_ID", "SWEEP_ID"),
    *("TAGS", "RUN_GROUP"),
    "SERVICE",  # a helper of whoever started us would know our runs, and end with him
)
"""What the library takes from the environment, and would say of every run."""


def prepare(directory: Path) -> None:
    """Import the library, once for all accounts: it is opened next. Blocking.

    Its modules import each other in circles: two threads that begin at different ends
    would both fail.
    """
    with _importing:
        # Read by the library when it starts its helper: no reports of its own errors
        # and no figures about its use leave this machine.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        if "wandb" not in sys.modules:
            for what in _OF_ONE_RUN:
                os.environ.pop(f"WANDB_{what}", None)
        # A service has no home to write to.
        for what in ("CACHE", "CONFIG", "DATA"):
            os.environ.setdefault(f"WANDB_{what}_DIR", str(directory / what.lower()))
        with nullcontext() if "wandb" in sys.modules else _uncollected():
            quieten()
            import wandb.proto.wandb_internal_pb2
            import wandb.sdk.interface.interface_sock
            import wandb.sdk.mailbox.mailbox_handle  # noqa: F401 - all that is used


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from what is made meanwhile: it stays for good.

    Going over the library's modules again and again holds the loop for 50 to 70 ms.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()


def quieten() -> None:
    """Keep it from writing to a terminal, which it does by default."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
