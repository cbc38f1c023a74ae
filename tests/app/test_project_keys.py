"""The folder of keys: what counts as a key, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewatch.app.project_keys import GONE_AFTER, ProjectKeys
from tunewatch.settings import Secret
from tunewatch.sources.openai import is_project


class Desk:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self.learned: list[Secret] = []
        self.keys = ProjectKeys(
            directory,
            is_project=is_project,
            monotonic=lambda: self.now,
            learn=self.learned.append,
        )

    def write(self, name: str, text: str = "sk-1\n") -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def value(self, project: str) -> str | None:
        key = self.keys.key(project)
        return None if key is None else key.get()


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


async def test_a_file_named_by_a_project_is_its_key(desk):
    desk.write("proj_a", "sk-a\n")
    desk.write("proj_a.webhook", "whsec_x")
    await desk.keys.look()
    assert desk.keys.projects() == ["proj_a"]
    assert desk.value("proj_a") == "sk-a"
    assert desk.keys.webhook("proj_a").get() == "whsec_x"
    known = {text for secret in desk.learned for text in secret.known()}
    assert known == {"sk-a", "whsec_x"}


@pytest.mark.parametrize(
    "name", ["README", "..data", ".proj_a", "proj_a~", "proj_a.bak", "proj_", "proj a"]
)
async def test_other_files_are_none_of_ours(desk, name):
    desk.write(name)
    await desk.keys.look()
    assert desk.keys.projects() == []
    assert desk.learned == []


async def test_neither_a_directory_nor_an_empty_file_is_a_key(desk):
    (desk.directory / "proj_dir").mkdir()
    (desk.directory / "proj_gone").symlink_to("nowhere")
    desk.write("proj_empty", "\n")
    await desk.keys.look()
    assert desk.keys.projects() == []
    empty = desk.directory / "proj_empty"
    assert desk.keys.wanted("proj_empty") == (
        f"no key: {empty} is empty, gone, or cannot be read"
    )
    new = desk.directory / "proj_new"
    assert desk.keys.wanted("proj_new") == f"no key yet: put one in {new}"
    empty.write_text("sk-late")
    await desk.keys.look()
    assert desk.value("proj_empty") == "sk-late"


async def test_a_key_that_is_exchanged_is_the_same_secret_with_another_value(desk):
    desk.write("proj_a", "sk-old")
    await desk.keys.look()
    key = desk.keys.key("proj_a")
    desk.write("proj_a", "sk-newer")
    await desk.keys.look()
    assert desk.keys.key("proj_a") is key
    assert key.get() == "sk-newer"
    assert len(desk.learned) == 1


async def test_a_file_that_is_gone_for_a_moment_still_counts(desk):
    path = desk.write("proj_a")
    await desk.keys.look()
    path.unlink()
    desk.now += GONE_AFTER - 1
    await desk.keys.look()
    assert desk.value("proj_a") == "sk-1"
    desk.now += 2
    await desk.keys.look()
    assert desk.keys.key("proj_a") is None
    desk.write("proj_a", "sk-back")
    await desk.keys.look()
    assert desk.value("proj_a") == "sk-back"


async def test_a_folder_that_is_away_takes_no_key_with_it(desk, tmp_path):
    desk.write("proj_a")
    await desk.keys.look()
    aside = tmp_path.rename(tmp_path.with_name("aside"))
    desk.now += 10 * GONE_AFTER
    await desk.keys.look()
    assert desk.keys.trouble == "no such file or directory"
    assert desk.keys.projects() == ["proj_a"]
    aside.rename(tmp_path)
    await desk.keys.look()
    assert desk.keys.trouble is None
    assert desk.keys.projects() == ["proj_a"]
