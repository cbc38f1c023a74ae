"""Programs in a network namespace of their own, where every address is this machine.

Nothing dialled there can leave the machine, and everything dialled arrives: whoever
must not dial an address is seen doing it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_SETUP = """
set -e
ip link set lo up
ip route add local default dev lo
ip -6 route add local default dev lo
if [ -n "$RESOLVE_BY" ]; then mount --bind "$RESOLVE_BY" /etc/resolv.conf; fi
exec "$@"
"""


def alone(
    module: str,
    arguments: Sequence[str] = (),
    *,
    resolve_by: Path | None = None,
    seconds: float = 60.0,
) -> str:
    """Run a module's main in such a namespace and return what it printed.

    `resolve_by` stands in for /etc/resolv.conf there. Raises AssertionError with
    what it said on stderr if it fails.
    """
    unshare = ["unshare", "--net", "--mount"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    paths = [str(_ROOT / part) for part in ("daemon", "plugins", "tests")]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "RESOLVE_BY": str(resolve_by or ""),
    }
    ran = subprocess.run(
        [*unshare, "sh", "-c", _SETUP, "sh", sys.executable, "-m", module, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
