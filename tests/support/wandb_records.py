"""What the client wrote on disk about a run: its records, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tunewatch_plugins.wandb_run.transaction_log import files_of, records


def read(directory: Path, run_id: str, kind: str) -> list[Any]:
    """Return the records of a kind in all parts of a run, in order."""
    return [
        getattr(record, kind)
        for path in files_of(directory, run_id)
        for record in records(path)
        if record.WhichOneof("record_type") == kind
    ]


def rows(directory: Path, run_id: str) -> list[dict[str, Any]]:
    """Return the history of a run."""
    return [
        {
            item.key or "/".join(item.nested_key): msgspec.json.decode(item.value_json)
            for item in line.item
        }
        for line in read(directory, run_id, "history")
    ]
