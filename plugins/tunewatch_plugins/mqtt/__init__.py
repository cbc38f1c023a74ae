"""MQTT: every event on a topic of its job, and a retained state of each job beside it.

An event is delivered when the broker has acknowledged it; the journal is the session,
so the broker keeps none. Knows nothing of lanes, tries or probing. The client library
is imported when the plugin is opened and no earlier.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tunewatch.plugin import Context, Plugin, Sink
from tunewatch_plugins.mqtt.settings import MqttSettings


def open_mqtt(
    settings: MqttSettings, context: Context
) -> AbstractAsyncContextManager[Sink]:
    """Open a connection that comes back by itself; see `sink.opened`."""
    from tunewatch_plugins.mqtt.sink import opened

    return opened(settings, context)


PLUGIN = Plugin(settings=MqttSettings, events=("*",), open=open_mqtt)

__all__ = ["PLUGIN", "MqttSettings"]
