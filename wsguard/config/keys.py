"""The files that policies name: keys, certificates and tokens, read and checked before anything relies on them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

from wsguard.config.files import UnreadableError, exists, read_bytes
from wsguard.policy.handshake_token import TokenKeys
from wsguard.policy.key_files import Content, KeyFile
from wsguard.policy.keys import MAX_DOCUMENT, BadKeys, KeySet, read_local_keys
from wsguard.policy.nats_credentials import read_nats_credentials
from wsguard.policy.problems import Problem


@dataclass(slots=True)
class NamedFiles:
    """What was read, by the name that the model has for it.

    `absent` are the problems of files that do not exist here: no fault where policies are only checked.
    """

    contents: dict[str, bytes] = field(default_factory=dict, repr=False)
    local_keys: dict[str, KeySet] = field(default_factory=dict, repr=False)
    token_keys: dict[str, TokenKeys] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)
    absent: list[Problem] = field(default_factory=list)


def read_named(files: Iterable[KeyFile]) -> NamedFiles:
    """Read each file once and check it for each purpose that it is named for. Messages quote no content."""
    found = NamedFiles()
    for file in files:
        try:
            if file.file not in found.contents:
                found.contents[file.file] = read_bytes(file.file, MAX_DOCUMENT)
            _check(file, found)
        except UnreadableError as error:
            problem = Problem.at(file.place, f'"{file.file}" cannot be read: {error}')
            (found.problems if exists(file.file) else found.absent).append(problem)
        except ValueError as error:
            message = f'"{file.file}" holds no usable {file.content.value}: {error}'
            found.problems.append(Problem.at(file.place, message))
    return found


def _check(file: KeyFile, found: NamedFiles) -> None:
    """Raises ValueError, with a sentence, where the file does not hold what it is named for."""
    data = found.contents[file.file]
    if not data.strip():
        raise ValueError("it is empty")
    if file.provider is not None:
        try:
            found.local_keys[file.file] = read_local_keys(file.provider, data)
        except BadKeys as error:
            raise ValueError(str(error)) from None
    elif file.content is Content.TOKEN_KEYS:
        found.token_keys[file.file] = TokenKeys.parse(data)
    elif file.content is Content.CERTIFICATES:
        try:
            ssl.create_default_context(cadata=data.decode("ascii", "replace"))
        except ssl.SSLError:
            raise ValueError("it is not PEM") from None
    elif file.content is Content.BEARER and len(data.split()) > 1:
        raise ValueError("a token has no white space")
    elif file.content is Content.ADDRESS and len(data.split()) > 1:
        raise ValueError("an address has no white space")
    elif file.content is Content.SECRET and len(data.splitlines()) > 1:
        raise ValueError("it has more than one line")
    elif file.content is Content.NATS_CREDENTIALS:
        read_nats_credentials(data)
