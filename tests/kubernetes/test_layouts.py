"""Layouts that people come up with: each is injected, means the same besides, and comes back byte for byte."""

from __future__ import annotations

import pytest
import yaml

from wsguard.kubernetes.inject import inject, uninject

BEGINNING = """\
%YAML 1.2
--- # the chat
"apiVersion": apps/v1
kind: "Deployment"
metadata: !!map
  name: chat
  annotations: # none yet
    {}
spec: &spec
  selector: {matchLabels: {app: chat,},}
  template:
    metadata: {labels: {
      app: chat  # of the shop
    }}
    spec:
"""
ITEM_ON_A_LINE_OF_ITS_OWN = """\
      containers:
      -
        # the only one
        name: chat
        ports: [ {containerPort: 3000} ]
        command: [sh, -c]
        args: ["serve
          --quietly"]
      # behind the containers

  # behind the pod
"""
LISTS_OF_SEVERAL_KINDS = """\
      initContainers: # first of all
        -   name: migrate
            image: >
              migrate

      volumes: # all of them
      - # the first
        name: data

      -    name: cache
           emptyDir:
             {}
      containers: [{name: chat, ports: [
        {containerPort: 3000},
      ], env: [ ], lifecycle: ~ }]
"""
TEXT_AT_THE_END = """\
      volumes:
      initContainers: []
      containers:
      - ports:
        - containerPort: 3000
        name: chat
        command:
        - sh
        - -c
        - |+
          serve
            --quietly

"""
ENDS = ["", "...\n", "---\n", "...\n---\n---\n# end", "---\nkind: List\nitems:\n---\n- no\n- manifest\n"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pod", [ITEM_ON_A_LINE_OF_ITS_OWN, LISTS_OF_SEVERAL_KINDS, TEXT_AT_THE_END])
def test_they_come_back(pod: str, end: str, newline: str) -> None:
    text = (BEGINNING + pod + end).replace("\n", newline)
    result = inject(text, "x.yaml")
    assert not result.problems
    before, after = (next(yaml.safe_load_all(one))["spec"]["template"]["spec"] for one in (text, result.text))
    assert [one["name"] for one in after["initContainers"]][-1] == "wsguard"
    assert after["containers"][0] | {"lifecycle": None} == before["containers"][0] | {"lifecycle": None}
    assert (after["volumes"] or [])[:-1] == (before.get("volumes") or [])
    assert uninject(result.text, "x.yaml").text == text
    assert inject(result.text, "x.yaml").text == result.text
