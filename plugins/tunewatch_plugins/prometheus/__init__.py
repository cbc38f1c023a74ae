"""View: `/metrics` with one set of series per job, beside the daemon's own metrics.

The jobs are read anew at each scrape and nothing is set and forgotten: a job that left
the window is simply not in the next answer. Polls go on by themselves, because the
provider's API is too dear to be asked at every scrape: the daemon's own
`tunewatch_poll_last_success_timestamp_seconds` tells how old the state is.
"""

from tunewatch_plugins.prometheus.settings import Settings
from tunewatch_plugins.prometheus.view import PLUGIN, Metrics

__all__ = ["PLUGIN", "Metrics", "Settings"]
