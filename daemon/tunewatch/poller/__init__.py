"""Look at every job of one source, commit what changed.

Knows sources by their contract and the store by its journal; knows no plugin.
"""
