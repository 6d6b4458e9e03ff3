from __future__ import annotations

import json

import pytest

from wsguard.cli import main


def test_prints_the_schema_of_one_kind_or_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert main(["schema", "GuardConfig"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["oneOf"] == [{"$ref": "#/$defs/GuardConfig"}]
    assert {"WebSocketPolicy", "GuardConfig"} <= set(both["$defs"])
    assert one["$defs"].items() <= both["$defs"].items()


def test_an_unknown_kind_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "ConfigMap"]) == 2
    assert "KIND is WebSocketPolicy or GuardConfig or PolicyTest, not 'ConfigMap'" in capsys.readouterr().err
