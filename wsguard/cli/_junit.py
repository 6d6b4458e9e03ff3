"""Results as CI systems read them: JUnit's XML, the part that all of them know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from xml.etree import ElementTree

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 §2.2


class Result(NamedTuple):
    """One test: where it is written, its name, the document's name, and what went wrong (empty: nothing)."""

    place: str
    name: str
    suite: str
    failure: str


def report(results: Iterable[Result]) -> bytes:
    """The document, in UTF-8: a suite for each document of tests."""
    root = ElementTree.Element("testsuites", name="wsguard test")
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(result.suite, []).append(result)
    for name, members in suites.items():
        failed = sum(bool(member.failure) for member in members)
        suite = ElementTree.SubElement(
            root, "testsuite", name=_text(name), tests=str(len(members)), failures=str(failed), errors="0"
        )
        for member in members:
            file, line, _ = member.place.rsplit(":", 2)
            case = ElementTree.SubElement(
                suite, "testcase", classname=_text(name), name=_text(member.name), file=_text(file), line=line
            )
            if member.failure:
                first, _, _ = member.failure.partition("\n")
                ElementTree.SubElement(case, "failure", message=_text(first)).text = _text(member.failure)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _text(text: str) -> str:
    return _NOT_XML.sub("�", text)
