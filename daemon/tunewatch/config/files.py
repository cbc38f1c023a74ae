"""Which files are read, and how they and the environment become one tree.

Remembers which file or variable gave every key. Knows no key but those of secrets that
exclude each other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewatch.settings import WAYS, Mistake, key_path

Tree = dict[str, Any]
PREFIX = "TUNEWATCH_"
SYSTEM_FILE = Path("/etc/tunewatch/tunewatch.toml")


@dataclass(slots=True)
class Draft:
    """What files and environment say, not yet checked."""

    tree: Tree = field(default_factory=dict)
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    doubts: list[Mistake] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Lay a file over the tree; a key that is already there is a mistake."""
        try:
            table = tomllib.loads(path.read_bytes().decode())
        except OSError as error:
            trouble = (error.strerror or type(error).__name__).lower()
            text = f"wanted a configuration file that can be read; found: {trouble}"
            self.mistakes.append(Mistake(where=str(path), key="", text=text))
            return
        except UnicodeDecodeError:
            text = "wanted TOML, which is UTF-8; found other bytes"
            self.mistakes.append(Mistake(where=str(path), key="", text=text))
            return
        except tomllib.TOMLDecodeError as error:
            text = f"wanted TOML; found a mistake in it: {_position(error)}"
            self.mistakes.append(Mistake(where=str(path), key="", text=text))
            return
        self.files.append(path)
        self._lay(self.tree, table, (), str(path))

    def beside(self, path: Path) -> list[Path]:
        """Return the further files beside a file: conf.d/*.toml, by name."""
        directory = path.parent / "conf.d"
        try:
            found = sorted(directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            # Half a configuration would be worse than none.
            trouble = (error.strerror or type(error).__name__).lower()
            text = f"wanted a directory that can be read; found: {trouble}"
            self.mistakes.append(Mistake(where=str(directory), key="", text=text))
            return []
        for one in found:
            if one.suffix != ".toml" and not one.name.startswith("."):
                text = "is not read: only files that end in .toml are"
                self.doubts.append(Mistake(where=str(one), key=str(one), text=text))
        return [one for one in found if one.suffix == ".toml"]

    def _lay(
        self, tree: Tree, table: Tree, prefix: tuple[str, ...], origin: str
    ) -> None:
        for key, value in table.items():
            path = (*prefix, key)
            if isinstance(value, dict) and isinstance(tree.get(key, {}), dict):
                # An empty table is a saying too: `[plugins.wandb]` turns it on.
                self.origins.setdefault(path, origin)
                self._lay(tree.setdefault(key, {}), value, path, origin)
            elif key in tree:
                first = self.origins.get(path, "another file")
                text = f"given twice: here and in {first}; keep one"
                self.mistakes.append(
                    Mistake(where=origin, key=key_path(path), text=text)
                )
            else:
                tree[key] = value
                self.origins[path] = origin

    def override(self, environ: Mapping[str, str]) -> None:
        """Lay the environment over the tree; here the later word wins."""
        for variable, text in sorted(environ.items()):
            # `TUNEWATCH_PORT` and its like are set by Kubernetes for a service's name.
            if variable.startswith(PREFIX) and "__" in variable:
                names = variable.removeprefix(PREFIX).split("__")
                self._set(names, _value(text), f"environment variable {variable}")

    def _set(self, names: list[str], value: object, origin: str) -> None:
        tree = self.tree
        path: tuple[str, ...] = ()
        key, left = self._meant(tree, names, path, origin)
        while left:
            path = (*path, key)
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            self.origins.setdefault(path, origin)
            tree = tree[key]
            key, left = self._meant(tree, left, path, origin)
        drop_rivals(tree, key)
        tree[key] = value
        self.origins[(*path, key)] = origin

    def _meant(
        self, tree: Tree, names: list[str], path: tuple[str, ...], origin: str
    ) -> tuple[str, list[str]]:
        """Return the key that the first of these names mean, and the names left.

        A key that is there already is preferred; its own name may have a `__`.
        """
        for end in range(len(names), 0, -1):
            found = _existing(tree, "__".join(names[:end]))
            if len(found) > 1:
                text = f"may mean {' or '.join(found)}: set it in a file"
                key = key_path((*path, found[0]))
                self.mistakes.append(Mistake(where=origin, key=key, text=text))
            if found:
                return found[0], names[end:]
        return names[0].lower(), names[1:]


def drop_rivals(tree: Tree, key: str) -> None:
    """Remove the other ways to give the same secret: a later word replaces them."""
    for rival in rivals(key):
        if rival != key:
            tree.pop(rival, None)


def rivals(key: str) -> tuple[str, ...]:
    """Return the ways to give what `key` gives, if it is a secret."""
    base = key
    for way in WAYS:
        base = base.removesuffix(way)
    return (base, *(base + way for way in WAYS))


def candidates(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    interactive: bool,
    directory: Path,
    system_file: Path,
) -> Iterator[tuple[Path, bool]]:
    """Yield the files that may be the configuration, and whether each must exist."""
    if path is not None:
        yield path, True
    elif environ.get("TUNEWATCH_CONFIG"):
        yield Path(environ["TUNEWATCH_CONFIG"]), True
    else:
        if interactive:
            yield directory / "tunewatch.toml", False
        yield system_file, False


def read_draft(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    interactive: bool,
    directory: Path,
    system_file: Path,
) -> Draft:
    """Return what the first configuration there is says, with the environment."""
    draft = Draft()
    for file, must_exist in candidates(
        path,
        environ,
        interactive=interactive,
        directory=directory,
        system_file=system_file,
    ):
        if must_exist or file.exists():
            draft.read(file)
            for further in draft.beside(file):
                draft.read(further)
            break
    draft.override(environ)
    return draft


def _position(error: tomllib.TOMLDecodeError) -> str:
    """Return what the parser says, without the key it may repeat."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", str(error))


def _existing(tree: Tree, name: str) -> list[str]:
    """Return the keys that a variable may mean: there is no case there, and no dash."""
    wanted = _as_variable(name)
    return [key for key in tree if _as_variable(key) == wanted]


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _value(text: str) -> object:
    """Return the array or table that a variable's text is, else the text."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text
