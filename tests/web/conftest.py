"""Who signs certificates, and one of the server that a file's tests have."""

from __future__ import annotations

import pytest

from support.certificates import Authority, Papers


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Lend an authority."""
    return Authority.founded(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def papers(authority: Authority) -> Papers:
    """Lend what a server on this machine shows."""
    return authority.issue("localhost")
