"""Weights & Biases: one run for each job, alive while the job trains.

Keeps runs as the store says jobs are: an event brings its news, and a run that is
opened again is brought up to date first. Knows nothing of lanes, tries or leases.
"""

from __future__ import annotations

from tunewatch.plugin import Plugin
from tunewatch_plugins.wandb_run.settings import WandbSettings
from tunewatch_plugins.wandb_run.sink import open_wandb

PLUGIN = Plugin(
    settings=WandbSettings,
    events=("fine_tuning.*", "tunewatch.job.*", "@selection"),
    open=open_wandb,
)

__all__ = ["PLUGIN", "WandbSettings"]
