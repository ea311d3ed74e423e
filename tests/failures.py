"""What executions, jobs and functions say when they fail: failures.json has a case for each cause of the catalogue.

Wordings of AWS are those of its documentation and of public reports, wordings of Lehr those of its code; accounts and
names are made up.
"""

from __future__ import annotations

import json
from pathlib import Path

from lehr.causes.rule import Symptoms

ANSWERS = {"project": "mnist", "run": "r1"}


def seen(state: str = "", error: str = "", reason: str = "", *log: str) -> Symptoms:
    return Symptoms(state=state, error=error, reason=reason, log=log, answers=ANSWERS)


def _read() -> list[tuple[str, Symptoms]]:
    cases = json.loads(Path(__file__).with_suffix(".json").read_text())
    return [
        (case["cause"], seen(case["state"], case["error"], case["reason"], *case.get("log", ())))
        for case in cases
    ]


CASES = _read()
