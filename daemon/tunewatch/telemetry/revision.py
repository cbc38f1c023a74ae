"""Which revision of the source runs, as far as its build knew.

Nobody asks git here: a checkout may have moved on since it was imported.
"""

from __future__ import annotations

from importlib.resources import files


def revision() -> str:
    """Return the revision the package was built from, empty if that is not known."""
    try:
        return files("tunewatch").joinpath("revision.txt").read_text().strip()
    except OSError:
        return ""
