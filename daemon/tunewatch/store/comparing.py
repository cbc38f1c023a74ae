"""One observation against the job's row: what the row becomes, and what is told.

Pure but for the decoder that is handed in: no connection and no clock here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tunewatch.diff import NEW, Delta, Known, Observation, diff
from tunewatch.model import Job, overlay
from tunewatch.store.before import Kept
from tunewatch.store.kept import Changed, view_of
from tunewatch.store.records import Fence
from tunewatch.store.stamping import sequence_after

Decode = Callable[[bytes], Job]

_ENDINGS = (
    "finished_at",
    "error",
    "fine_tuned_model",
    "result_files",
    "trained_tokens",
)
"""Keys of a raw item that only an ended job has: forgotten when it goes on."""

_items = msgspec.json.Decoder(dict[str, Any])


@dataclass(slots=True)
class Look:
    """One observation on its way through a transaction."""

    held: Fence
    seen: Observation
    before: Kept | None
    delta: Delta
    job: Job | None  #: as it is now
    changed: Changed | None  #: None: nothing but the counter of looks is written
    key: int = 0  #: of the job's row, 0 as long as there is none


def compare(  # noqa: PLR0917 - what an observation meets
    held: Fence,
    seen: Observation,
    before: Kept | None,
    known: Known,
    decode: Decode,
    now: float,
) -> Look:
    """Return what an observation comes to at a time. Raises what decode raises."""
    job_before = _job_before(seen, before, decode) if before else None
    raw, job = _laid_over(seen, before, job_before, decode)
    state = before.state if before else NEW
    delta = diff(state, job_before, job, seen, known)
    if not delta.keep_raw and before is not None:
        raw, job = before.raw, job_before
    look = Look(held, seen, before, delta, job, None, before.key if before else 0)
    if job is not None and _stores(delta, before, raw):
        look.changed = _changed(look, job, raw, now)
    return look


def _job_before(seen: Observation, before: Kept, decode: Decode) -> Job:
    """Return the job as it is kept.

    As an item that was said now is compared with it, both by one decoder; else as it
    was decoded when it was kept, which costs a fifth.
    """
    if seen.raw is None:
        return view_of(before.view)
    return decode(before.raw)


def _laid_over(
    seen: Observation, before: Kept | None, job_before: Job | None, decode: Decode
) -> tuple[bytes, Job | None]:
    """Return the kept raw item with what was said now laid over it, decoded."""
    if seen.raw is None:
        return (before.raw if before else b""), job_before
    said = _items.decode(seen.raw)
    kept = _items.decode(before.raw) if before else {}
    forget: tuple[str, ...] = ()
    if job_before is not None and job_before.state.is_terminal:
        goes_on = not decode(seen.raw).state.is_terminal
        forget = _ENDINGS if goes_on else ()
    laid = overlay(kept, said, forget=forget)
    if before is not None and laid == kept:
        return before.raw, job_before
    raw = msgspec.json.encode(laid)
    return raw, decode(raw)


def _stores(delta: Delta, before: Kept | None, raw: bytes) -> bool:
    """Whether there is anything to write beside the counter of looks."""
    return (
        before is None
        or raw != before.raw
        or delta.after != before.state
        or bool(delta.happenings or delta.entries or delta.points)
        or bool(delta.checkpoints or delta.removed_checkpoints)
    )


def _changed(look: Look, job: Job, raw: bytes, now: float) -> Changed:
    before = look.before
    sequence = before.sequence if before else 0
    for _ in look.delta.happenings:
        sequence = sequence_after(sequence, now)
    return Changed(
        raw=None if before is not None and look.seen.raw is None else raw,
        job=job,
        state=look.delta.after,
        ended_at=_ended_at(look, job),
        term=look.held.token,
        look=look.seen.look,
        revision=before.revision + 1 if before else 1,
        sequence=sequence,
    )


def _ended_at(look: Look, job: Job) -> int | None:
    """Return when a job ended: finished_at, else when the end was seen."""
    if not (job.state.is_terminal or look.delta.after.removed):
        return None
    kept = look.before.ended_at if look.before else None
    if look.delta.after.silent:
        kept = kept or job.created_at
    return job.finished_at or kept or int(look.seen.at)
