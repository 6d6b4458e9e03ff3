"""Copies of the charts with their dependencies in place: the checkout is left as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helm.charts import helm
from tests.support.programs import ROOT


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents assume it: a clone of the project, called wsguard, and beside it their examples."""
    folder = tmp_path_factory.mktemp("clone")
    for part in ("helm", "policies"):
        shutil.copytree(ROOT / part, folder / "wsguard" / part)
    helm("dependency", "build", folder / "wsguard/helm/wsguard-gateway")
    text = (ROOT / "docs/kubernetes.md").read_text("utf-8")
    for name, content in re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    helm("dependency", "build", folder / "my-app")
    return folder


@pytest.fixture(scope="session")
def gateway(clone: Path) -> Path:
    """The gateway's chart."""
    return clone / "wsguard/helm/wsguard-gateway"


@pytest.fixture(scope="session")
def app(clone: Path) -> Path:
    """The chart of an application that uses the library: the one in docs/kubernetes.md."""
    return clone / "my-app"
