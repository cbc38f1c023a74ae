"""The command line: arguments to calls, exit codes, tables on a terminal.

Imports nothing heavy: each command is imported when it is asked for.
"""

from tunewatch.cli.main import main

__all__ = ["main"]
