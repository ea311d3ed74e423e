"""The evaluator and a peer, iam-simulate of Cloud Copilot, give the same answers to the same questions.

The quick form compares with answers that the peer gave once (fixtures/agreement.json). The full form installs it
from npm into a temporary folder and asks it anew:

    pytest -m slow tests/unit/shield/test_agreement.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lehr_local.shield.policies import Demand, decide
from tests.unit.shield.generated_cases import case

PEER = "@cloud-copilot/iam-simulate@0.1.173"
RECORDED = Path(__file__).parent / "fixtures" / "agreement.json"
CASES = 1000
ANSWERS = {"Allowed": "allowed", "ExplicitlyDenied": "explicitly denied", "ImplicitlyDenied": "not allowed"}

SCRIPT = """
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'
const answers = []
for (const item of JSON.parse(readFileSync('cases.json', 'utf8'))) {
  const answer = await runSimulation({
    request: {
      principal: 'arn:aws:iam::123456789012:role/r',
      action: item.action,
      resource: { resource: item.resource, accountId: '123456789012' },
      contextVariables: item.context,
    },
    identityPolicies: item.documents.map((policy, index) => ({ name: `p${index}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }, {})
  answers.push(answer.overallResult ?? JSON.stringify(answer))
}
console.log(JSON.stringify(answers))
"""


def ours(question: dict[str, Any]) -> str:
    context = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in question["context"].items()
    }
    return decide(question["documents"], Demand(question["action"], question["resource"], context))


def test_the_recorded_answers_of_the_peer_are_ours() -> None:
    recorded = json.loads(RECORDED.read_text())["cases"]
    assert len(recorded) >= 100
    assert min(Counter(question["answer"] for question in recorded).values()) >= 40
    wrong = [question["seed"] for question in recorded if ours(question) != question["answer"]]
    assert wrong == []


@pytest.mark.slow
def test_the_peer_gives_the_same_answers_to_a_thousand_cases(tmp_path: Path) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm and node are not installed, and the peer is a package of npm")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    install = ["npm", "install", "--no-audit", "--no-fund", PEER]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if installed.returncode != 0:
        pytest.skip(f"the peer could not be installed: {installed.stderr[-300:]}")
    questions = [case(seed) for seed in range(CASES)]
    (tmp_path / "cases.json").write_text(json.dumps(questions))
    (tmp_path / "simulate.mjs").write_text(SCRIPT)
    asked = subprocess.run(
        ["node", "simulate.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    )
    answers = [ANSWERS.get(answer, answer) for answer in json.loads(asked.stdout)]
    # Questions that all have one answer would show nothing.
    assert min(Counter(answers).values()) > CASES / 20
    assert {seed: answers[seed] for seed in range(CASES) if ours(questions[seed]) != answers[seed]} == {}
