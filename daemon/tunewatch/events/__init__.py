"""The closed set of events: what they are, how they are named, encoded and chosen.

Does no I/O, reads no clock, knows no provider and no plugin.
"""

from tunewatch.events.catalogue import (
    CATALOGUE,
    DERIVED_TYPES,
    JOB_STATUS_PREFIX,
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    JobDiscovered,
    JobRemoved,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    MessageLogged,
    MetricsRecorded,
    Payload,
    ReceiverTried,
    SourceDown,
    SourceUp,
    Unheard,
    status_type,
)
from tunewatch.events.identity import derived_id, event_id
from tunewatch.events.subscription import GROUPS, has_metadata, judge, matcher
from tunewatch.events.wire import Common, Event, Happening, decode, encode, iso

__all__ = [
    "CATALOGUE",
    "DERIVED_TYPES",
    "GROUPS",
    "JOB_STATUS_PREFIX",
    "CheckpointCreated",
    "CheckpointRemoved",
    "CheckpointSelected",
    "CheckpointUnselected",
    "Common",
    "Event",
    "Happening",
    "JobDiscovered",
    "JobRemoved",
    "JobReopened",
    "JobSettled",
    "JobStatusChanged",
    "JobUpdated",
    "MessageLogged",
    "MetricsRecorded",
    "Payload",
    "ReceiverTried",
    "SourceDown",
    "SourceUp",
    "Unheard",
    "decode",
    "derived_id",
    "encode",
    "event_id",
    "has_metadata",
    "iso",
    "judge",
    "matcher",
    "status_type",
]
