"""Which files a path stands for, their bytes, and a stamp that tells whether any of them changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_SUFFIXES = (".yaml", ".yml")
_POLICY_TESTS = (".test.yaml", ".test.yml")

Stamp = Mapping[str, tuple[str, int, int, int]]
"""For each file by its name: what the name resolves to, inode, size and time of change."""


class UnreadableError(Exception):
    """A path that cannot be read; the message is a sentence that does not name it."""


def policy_files(path: Path) -> list[Path]:
    """The policy files that `path` stands for: itself, or what a folder holds, in the order of the names.

    Hidden names are left out, so that of a mounted ConfigMap each file is read once, through its link and not
    through `..data`; so are the tests of policies (`*.test.yaml`). Raises UnreadableError.
    """
    return _meant_by(path, _is_policy, "*.yaml")


def policy_test_files(path: Path) -> list[Path]:
    """The tests of policies that `path` stands for: itself, or the `*.test.yaml` of a folder, in the order of names.

    Raises UnreadableError.
    """
    return _meant_by(path, _is_policy_test, "*.test.yaml")


def _meant_by(path: Path, is_meant: Callable[[Path], bool], names: str) -> list[Path]:
    try:
        if not os.path.isdir(path):
            return [path]
        found = [entry for entry in sorted(path.iterdir(), key=lambda entry: entry.name) if is_meant(entry)]
    except OSError as error:
        raise UnreadableError(_why(error)) from None
    if not found:
        raise UnreadableError(f"the folder holds no {names} file")
    return found


def _is_policy(path: Path) -> bool:
    if not path.name.endswith(_SUFFIXES) or path.name.startswith(".") or path.name.endswith(_POLICY_TESTS):
        return False
    # A link that leads nowhere, or where nobody may look, stays in: a policy must not vanish in silence.
    return not os.path.isdir(path)


def _is_policy_test(path: Path) -> bool:
    return path.name.endswith(_POLICY_TESTS) and not path.name.startswith(".")


def tested_by(path: Path) -> Path:
    """The policy file that a test file is of by its name: of `chat.test.yaml` it is `chat.yaml`."""
    suffix = next((suffix for suffix in _POLICY_TESTS if path.name.endswith(suffix)), path.suffix)
    return path.with_name(path.name.removesuffix(suffix) + path.suffix)


def read_bytes(path: str | Path, most: int) -> bytes:
    """At most `most` + 1 bytes of a regular file, so that the reader sees when there are more.

    Raises UnreadableError. What is no regular file is not read: a pipe would hold the reader for ever.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableError("this is no regular file")
            return file.read(most + 1)
    except IsADirectoryError:
        raise UnreadableError("this is no regular file") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(_why(error)) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else opening a pipe waits for its writer


def exists(path: str) -> bool:
    """Whether the path leads to anything, readable or not."""
    return os.path.lexists(path)


def stamp(paths: Iterable[str | Path]) -> Stamp:
    """What the file system says of `paths` now; where two stamps are equal, nothing was changed or re-linked."""
    return {str(path): _stamp(path) for path in paths}


def _stamp(path: str | Path) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)
        return os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns
    except (OSError, ValueError):
        return "", 0, 0, 0


def all_policy_files(paths: Iterable[Path]) -> list[Path]:
    """The policy files of `paths`, as far as they can be found; a path that cannot be read stands for itself."""
    found: list[Path] = []
    for path in paths:
        try:
            found += policy_files(path)
        except UnreadableError:
            found.append(path)
    return found


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
