"""Lanes to plugins: in order per job, at least once, nobody held up by another.

Knows plugins by their contract and the store by its functions; no provider, no URL.
"""

from tunewatch.dispatch.dispatcher import Dispatcher
from tunewatch.dispatch.gate import Gate, GateState
from tunewatch.dispatch.observer import Observer, Unobserved
from tunewatch.dispatch.parcels import Parcels

__all__ = ["Dispatcher", "Gate", "GateState", "Observer", "Parcels", "Unobserved"]
