"""The operator API over HTTP, version 1: `tunewatch.api` with a server around it."""

from tunewatch.web.v1.api import Api, Backing

__all__ = ["Api", "Backing"]
