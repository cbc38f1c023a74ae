"""A daemon whose key is in a file that somebody exchanges."""

from __future__ import annotations

from pathlib import Path

from support.daemon_process import DaemonProcess


class KeyInFile(DaemonProcess):
    """One whose key is read from a file, as often as that changes."""

    @property
    def key_file(self) -> Path:
        """Where its key is."""
        return self.program.directory / "key"

    def tables(self) -> str:
        """Return the tables of what is polled."""
        return (
            f"[sources.research]\napi_key_file = '{self.key_file}'\n"
            f"base_url = '{self.api_url}'"
        )

    def keep(self, key: str) -> None:
        """Exchange the key as tools do that let nobody read half of it."""
        fresh = self.key_file.with_suffix(".new")
        fresh.write_text(f"{key}\n")
        fresh.chmod(0o600)
        fresh.rename(self.key_file)
