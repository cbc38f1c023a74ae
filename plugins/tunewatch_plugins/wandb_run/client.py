"""The W&B client library as this plugin uses it: silent, lean, bounded, off the loop.

Nobody imports it before `library.prepare` has. Every call here may block and belongs
into a thread. What it raises is said in the contract's words; the library's own may
hold the key.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewatch.plugin import Refusal, Retry
from tunewatch_plugins.wandb_run.library import quieten
from tunewatch_plugins.wandb_run.settings import Home, WandbSettings

if TYPE_CHECKING:
    import wandb  # heavy: only when a run is opened

JOB_TYPE = "fine-tune"
LONGEST_REASON = 300
_IN_USE = "is in use"
_OPENING = (
    2  #: runs that are opened at once: with more the loop would wait for its turn
)
_POLL = 0.1  #: s between two looks whether an earlier end of the same run is over


class HelperGone(Retry):
    """The client's helper process died: every run that was open in it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A run that is wanted."""

    run_id: str
    home: Home
    name: str
    tags: tuple[str, ...]
    notes: str
    is_ours: bool = True  #: made if it is missing, and ended by us


@dataclass(slots=True)
class Client:
    """Opens runs."""

    settings: WandbSettings
    directory: Path
    is_closed: bool = False  #: nothing is opened any more
    is_stuck: bool = False  #: whether the helper holds a run that did not open
    helper: int = 0  #: how many helpers were left before this one
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _turns: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_OPENING)
    )

    def open(self, opening: Opening) -> wandb.Run:
        """Return an open run, resumed if it exists. Raises Retry."""
        with self._helped("open a run"):
            until = time.monotonic() + self.settings.init_timeout
            while True:
                try:
                    return self._in_turn(opening)
                except Refusal:
                    raise
                except Exception as error:
                    if _IN_USE not in str(error):
                        self._release(opening.run_id)
                        raise
                    # The end of an earlier opening, cut off by its limit of time, may
                    # not be over in the helper.
                    if time.monotonic() > until:
                        raise
                time.sleep(_POLL)

    def account(self) -> str:
        """Return whose key it is, by the server. Raises Retry."""
        with self._helped("sign in"):
            try:
                return str(self._api().viewer.entity)
            except ValueError as error:  # an answer without an account
                raise Retry(self._said("sign in", error)) from None

    def tagged(self, tag: str, home: Home) -> str | None:
        """Return the id of the newest run with a tag, None if none has it.

        Raises Retry.
        """
        project = "/".join(filter(None, (home.entity, home.project)))
        with self._helped("look for a run"):
            try:
                found = self._api().runs(
                    project, filters={"tags": tag}, order="-created_at", per_page=1
                )
                return next((str(run.id) for run in found), None)
            except (ValueError, TypeError, KeyError) as error:
                # There is no such project, or the library cannot read what is in it.
                raise Retry(self._said("look for a run", error), scope="lane") from None

    def _api(self) -> wandb.Api:
        import wandb

        key, url = self.settings.api_key, self.settings.url
        return wandb.Api(
            overrides={} if url is None else {"base_url": url},
            api_key=None if key is None else key.get(),
            timeout=int(self.settings.init_timeout),
        )

    def renew(self, helper: int) -> None:
        """Leave the helper at once, with whatever W&B has not taken.

        Nothing happens if it was left already: several find out that it died.

        For one that died, and for an end of this process that must not wait for a
        server that does not answer: what is lost is sent again by the next start. The
        next run that is opened starts another helper.
        """
        import wandb
        from wandb.sdk import wandb_setup

        with self._guard:
            if helper != self.helper:
                return
            self.helper += 1
            self.is_stuck = False
            service = wandb_setup.singleton()._connection  # noqa: SLF001 - no public way
            process = None if service is None else service._proc  # noqa: SLF001
            if process is not None:
                process._process.kill()  # noqa: SLF001
                process.join()
            # It cannot say goodbye to the dead: it raises, or would end this process as
            # the helper ended. It is forgotten all the same, and not waited for later.
            with suppress(Exception, SystemExit):
                wandb.teardown()
            quieten()

    def clear(self, run: wandb.Run) -> None:
        """Remove what the client kept of a run on disk, now that W&B has all of it."""
        if self.settings.mode == "online":
            shutil.rmtree(run.sync_dir, ignore_errors=True)

    def clear_old(self, *, older: float) -> None:
        """Remove what ends by a kill left on disk and nobody wrote to since.

        `older` is in unix seconds. Not in a directory of the operator's own.
        """
        if self.settings.mode != "online" or self.settings.dir is not None:
            return
        for left in self.directory.glob("wandb/run-*"):
            with suppress(OSError):
                if max(one.stat().st_mtime for one in left.rglob("*")) < older:
                    shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _helped(self, what: str) -> Iterator[None]:
        """Leave a helper that died unseen, with no run open that would find it out."""
        helper = self.helper
        try:
            with self.translated(what):
                yield
        except HelperGone:
            self.renew(helper)
            raise

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Let the library's errors be told as `Retry`. Anything else passes."""
        from wandb.errors import Error, UsageError
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
        from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

        gone = (ConnectionError, MailboxClosedError, HandleAbandonedError)
        other = (Error, ServerResponseError, WandbApiFailedError, OSError)
        try:
            yield
        except (*gone, *other) as error:
            for why in _causes(error):
                if isinstance(why, gone):
                    told = f"cannot {what}: the W&B client's helper process is gone"
                    raise HelperGone(f"{told} ({type(why).__name__})") from None
            # Something of this run: a name that will not do, a run that is missing.
            if isinstance(error, UsageError):
                raise Retry(self._said(what, error), scope="lane") from None
            raise Retry(self._said(what, error)) from None

    def _said(self, what: str, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            seconds = self.settings.finish_timeout
            return f"cannot {what}: W&B has not taken all of it within {seconds:g} s"
        words = " ".join(str(error).split()) or type(error).__name__
        if _IN_USE in words:
            words += (
                ": an earlier end of it is not over, or another plugin of kind wandb"
                " in this daemon has it open"
            )
        for known in self.settings.api_key.known() if self.settings.api_key else ():
            words = words.replace(known, "***")
        return f"cannot {what}: {words}"[:LONGEST_REASON]

    def _release(self, run_id: str) -> None:
        """Let the helper forget a run that did not open.

        Left alone, it holds the id as in use for as long as it lives, and the run could
        never be opened again.
        """
        from wandb.sdk import wandb_setup
        from wandb.sdk.interface.interface_sock import InterfaceSock

        service = wandb_setup.singleton()._connection  # noqa: SLF001 - no public way
        if service is None:
            return
        held = InterfaceSock(service._asyncer, service._client, stream_id=run_id)  # noqa: SLF001
        try:
            # Without the answer the helper must not be told: it would wait for it and
            # for nothing else.
            held.deliver_exit(1).wait_or(timeout=self.settings.finish_timeout)
            service.inform_finish(run_id=run_id)
        except Exception:  # noqa: BLE001 - whatever it is, the helper still holds the run
            self.is_stuck = True

    def _in_turn(self, opening: Opening) -> wandb.Run:
        """Open a run, few at once: each takes its share of what runs Python here."""
        with self._turns:
            if self.is_closed:
                raise Retry("the plugin is being closed")
            return self._init(opening)

    def _init(self, opening: Opening) -> wandb.Run:
        import wandb

        home = opening.home
        # Lean: nothing about this machine, its code or its console is anybody's
        # business, and each of them costs.
        said: dict[str, Any] = {
            "mode": self.settings.mode,
            "root_dir": str(self.directory),
            "init_timeout": self.settings.init_timeout,
            "finish_timeout": self.settings.finish_timeout,
            "x_graphql_timeout_seconds": self.settings.init_timeout,
            "x_update_finish_state": opening.is_ours,
        }
        if self.settings.url is not None:
            said["base_url"] = self.settings.url
        if self.settings.mode == "online" and self.settings.api_key is not None:
            said["api_key"] = self.settings.api_key.get()
        return wandb.init(
            id=opening.run_id,
            entity=home.entity,
            project=home.project,
            group=home.group,
            job_type=JOB_TYPE,
            reinit="create_new",
            resume="allow" if opening.is_ours else "must",
            settings=wandb.Settings(**_LEAN, **said),
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came of: the library wraps some of them."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_LEAN: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "finish_timeout_raises": True,
    "max_end_of_run_history_metrics": 0,
    "max_end_of_run_summary_metrics": 0,
    "save_code": False,
    "summary_warnings": 0,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,
}
