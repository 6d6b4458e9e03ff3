"""The starter policies pass `wsguard check`, and do what their comments say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from wsguard.cli import main
from wsguard.config.files import policy_files

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"
GALLERY = POLICIES / "gallery"
DEMO = ROOT / "wsguard/demo/policies"
FILES = [file for folder in (POLICIES, GALLERY, DEMO) for file in policy_files(folder)]

COOKIE_APP, FEED = "wss://app.example.com/ws", "wss://feed.example.com/feed"
LEGACY = "wss://legacy.example.com/ws"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_each_passes_check_alone(path: Path) -> None:
    assert main(["check", str(path)]) == 0


def test_together_they_warn_only_of_what_is_dangerous_on_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(POLICIES)]) == 0
    *warnings, summary = capsys.readouterr().out.splitlines()
    assert all("public-read-only-feed.yaml" in warning for warning in warnings), warnings
    assert summary == "6 files: 0 errors, 2 warnings"


def test_the_demonstrations_lack_nothing_but_the_key_that_it_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(DEMO)]) == 0
    *warnings, _ = capsys.readouterr().out.splitlines()
    assert len(warnings) == len(list(DEMO.glob("*.yaml"))) - 1, "all but guard.yaml name it"
    assert "token.key" in warnings[0]


@pytest.mark.parametrize("folder", [POLICIES, GALLERY], ids=lambda folder: folder.name)
def test_each_says_in_its_first_line_what_it_is_for(folder: Path) -> None:
    for path in policy_files(folder):
        assert path.read_text("utf-8").startswith("# "), path


@pytest.mark.parametrize("folder", [POLICIES, GALLERY], ids=lambda folder: folder.name)
def test_each_policy_has_tests_that_it_passes(folder: Path) -> None:
    assert main(["test", str(folder)]) == 0
    untested = {path.name for path in policy_files(folder) if not path.with_suffix(".test.yaml").exists()}
    assert untested <= {"guard.yaml"}  # no policy


def test_the_gallery_is_dangerous_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    for path in policy_files(GALLERY):
        assert main(["check", str(path)]) == 0
        assert capsys.readouterr().out == "1 file: 0 errors, 0 warnings\n"


def test_each_policy_of_the_gallery_is_run_against_its_application_and_told_of() -> None:
    names = {path.stem for path in policy_files(GALLERY)}
    assert names == {
        path.stem.removeprefix("test_").replace("_", "-") for path in (ROOT / "tests/gallery").glob("test_*.py")
    }
    told = (ROOT / "docs/gallery.md").read_text("utf-8")
    assert names == set(re.findall(r"policies/gallery/([a-z-]+)\.yaml\)", told))


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["--url", COOKIE_APP, "--origin", "https://evil.example"], "origin-denied"),
        (["--url", COOKIE_APP, "--cookie", "session=x"], "origin-denied"),
        (["--url", COOKIE_APP, "--origin", "https://app.example.com"], "credential-missing"),
        (["--url", "wss://api.example.com/live", "--origin", "https://api.example.com"], "origin-denied"),
        (["--url", "wss://api.example.com/live", "--origin", "https://spa.example.com"], "credential-missing"),
        (["--url", "wss://app.example.com/other", "--origin", "https://app.example.com"], "no-policy"),
        (["--url", FEED, "--origin", "https://any.example"], "admitted"),
        (["--url", FEED], "admitted"),
        (["--url", "wss://rebound.example/ws"], "host-denied"),
        (["--url", LEGACY, "--origin", "https://evil.example"], "origin-denied"),
    ],
)
def test_they_do_what_they_say(arguments: list[str], outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--policy", str(POLICIES), "--json", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["refusal"]["reason"] if told["refusal"] else told["result"]) == outcome
