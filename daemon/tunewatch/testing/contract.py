"""The contract suite for plugins: subclass one class, and learn what does not hold.

    class TestMine(SinkContract):
        plugin = PLUGIN

        @asynccontextmanager
        async def receiver(self):
            async with my_server() as server:
                yield Rig(settings={"url": server.url}, fail=server.fail)

Works under pytest and needs nothing of it. Every check opens the plugin as the daemon
does, on a loop of its own. Knows only the public contract.
"""

from tunewatch.testing.plugin_contract import Rig
from tunewatch.testing.reactor_contract import ReactorContract
from tunewatch.testing.sink_contract import SinkContract
from tunewatch.testing.view_contract import ViewContract

__all__ = ["ReactorContract", "Rig", "SinkContract", "ViewContract"]
