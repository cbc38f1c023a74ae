"""Signed webhooks: every event as one POST that its receiver can verify and repeat.

Signs by Standard Webhooks, as OpenAI does, so that a receiver written for OpenAI's own
webhooks accepts ours. Knows nothing of lanes, tries or probing: it says what an answer
means, and the dispatcher waits.
"""

from __future__ import annotations

from tunewatch.plugin import Plugin
from tunewatch_plugins.webhook.settings import WebhookSettings
from tunewatch_plugins.webhook.sink import open_webhook

PLUGIN = Plugin(
    settings=WebhookSettings,
    events=("@terminal", "@selection"),
    open=open_webhook,
)

__all__ = ["PLUGIN", "WebhookSettings"]
