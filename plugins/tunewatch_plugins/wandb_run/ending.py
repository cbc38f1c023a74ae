"""The end of a run: bounded in time, whatever the client library waits for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from tunewatch_plugins.wandb_run.transaction_log import is_ended

if TYPE_CHECKING:
    import wandb  # heavy: only when a run is opened

_GRACE = 0.5  #: s beyond the limit of the library, which says more
_LOOK = 0.02  #: s between two looks whether a file is whole


def finish(run: wandb.Run, exit_code: int, *, within: float) -> None:
    """Finish a run; return when W&B, or offline its file, has all of it.

    Raises TimeoutError.

    The library's own limit does not hold while its helper waits for an answer to
    something else: in a thread of its own, which ends when the helper does.
    """
    ended: Future[None] = Future()

    def end() -> None:
        try:
            run.finish(exit_code=exit_code)
        except BaseException as error:  # noqa: BLE001 - it is raised by who waits
            ended.set_exception(error)
        else:
            ended.set_result(None)

    until = time.monotonic() + within + _GRACE
    threading.Thread(target=end, name=f"wandb-end-{run.id}", daemon=True).start()
    ended.result(timeout=within + _GRACE)
    # Offline the helper closes the file a moment after it said so.
    while run.offline and not is_ended(Path(run.settings.sync_file)):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(_LOOK)
