"""One log line for what a person would want to hear: statuses, choices, sources.

Listens to the journal like dispatch does. History that is only caught up with is said
at level debug, so that a first start does not flood the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from tunewatch.events import (
    CheckpointSelected,
    CheckpointUnselected,
    Event,
    JobStatusChanged,
    SourceDown,
    SourceUp,
    decode,
    matcher,
)
from tunewatch.store.records import EventRef

_log = structlog.get_logger(__name__)
_is_told = matcher(["@status", "@selection", "@source"])


def tell(refs: Sequence[EventRef]) -> None:
    """Log the committed events that people wait for."""
    for ref in refs:
        if _is_told(ref.type):
            event = decode(ref.body)
            say = _log.debug if event.common.backfilled else _log.info
            say(event.type, **_subject(event), **_facts(event))


def _subject(event: Event) -> dict[str, Any]:
    if event.job_id is None:
        return {"source": event.common.source}
    return {"source": event.common.source, "job": event.common.id}


def _facts(event: Event) -> dict[str, Any]:
    match event.payload:
        case JobStatusChanged(job=job, previous_status=previous):
            error = (job.get("error") or {}).get("code")
            facts = {"suffix": job.get("suffix"), "before": previous, "error": error}
        case CheckpointSelected() as chosen:
            facts = {
                "decision": chosen.decision,
                "step": chosen.checkpoint.get("step_number"),
                "model": chosen.checkpoint.get("fine_tuned_model_checkpoint"),
                "reason": chosen.reason,
            }
        case CheckpointUnselected(reason=reason, detail=detail):
            facts = {"reason": reason, "detail": detail}
        case SourceDown(reason=reason) | SourceUp(reason=reason):
            facts = {"reason": reason}
        case _:
            facts = {}
    return {name: fact for name, fact in facts.items() if fact is not None}
