"""Sensors of running jobs, as Home Assistant's MQTT discovery wants them announced.

A sensor reads the job's retained state, so nothing but its announcement is published
for it. Pure; knows no broker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from tunewatch import __version__
from tunewatch.plugin import JobGlance
from tunewatch_plugins.mqtt.topics import Topics

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_ALWAYS: dict[str, dict[str, Any]] = {
    "status": {
        "name": "Status",
        "icon": "mdi:state-machine",
        "value_template": "{{ value_json.status }}",
    },
    "progress": {
        "name": "Progress",
        "icon": "mdi:progress-clock",
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "value_template": "{{ value_json.progress }}",
    },
}
_LOSSES = {
    "train_loss": "Training loss",
    "valid_loss": "Validation loss",
    "full_valid_loss": "Full validation loss",
}
_REWARDS = {
    "train_mean_reward": "Training reward",
    "valid_mean_reward": "Validation reward",
    "full_valid_mean_reward": "Full validation reward",
}
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcements:
    """What is announced below one prefix, for the states below another one."""

    prefix: str
    topics: Topics
    availability: str  #: the topic of the replica that publishes the states

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started, and knows nothing."""
        return f"{self.prefix}/status"

    def of(self, job: JobGlance) -> Iterator[tuple[str, bytes]]:
        """Yield the topic and the announcement of each sensor of a job."""
        device = _identifier(job.source, job.id)
        for key, about in _sensors(job).items():
            told = {
                **about,
                "unique_id": f"{device}_{key}",
                "default_entity_id": _entity(f"{device}_{key}"),
                "state_topic": self.topics.state(job.source, job.id),
                "availability_topic": self.availability,
                "device": {
                    "identifiers": [device],
                    "name": f"Fine-tuning {job.suffix or job.id}",
                    "model": job.model,
                    "manufacturer": job.source,
                },
                "origin": {"name": "tunewatch", "sw_version": __version__},
            }
            yield self._topic(device, key), _encoder.encode(told)

    def topics_of(self, source: str, job_id: str) -> Iterator[str]:
        """Yield where a job's sensors are announced, to take that back."""
        device = _identifier(source, job_id)
        for key in (*_ALWAYS, *_LOSSES, *_REWARDS):
            yield self._topic(device, key)

    def _topic(self, device: str, key: str) -> str:
        return f"{self.prefix}/sensor/{device}/{key}/config"


def _sensors(job: JobGlance) -> dict[str, dict[str, Any]]:
    """Return what a job is shown by: who learns by rewards has no losses."""
    metrics = _REWARDS if job.method == "reinforcement" else _LOSSES
    return _ALWAYS | {
        key: {
            "name": name,
            "icon": "mdi:chart-line",
            "state_class": "measurement",
            "value_template": f"{{{{ value_json.metrics.get('{key}') }}}}",
        }
        for key, name in metrics.items()
    }


def _entity(name: str) -> str:
    """Return what an entity is called at first; people may call it otherwise."""
    return f"sensor.{name.lower().replace('-', '_')}"


def _identifier(source: str, job_id: str) -> str:
    """Return a name of the few characters allowed; other jobs have other ones."""
    plain = f"tunewatch_{source}_{job_id}"
    name = _ODD.sub("_", plain)
    mark = blake2b(f"{source}/{job_id}".encode(errors="replace"), digest_size=4)
    return f"{name}_{mark.hexdigest()}"
