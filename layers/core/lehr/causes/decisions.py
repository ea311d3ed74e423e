"""Why a model was promoted or refused: the rules of the gate with their numbers. Pure."""

from __future__ import annotations

import re

from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.explanation import Evidence, Explanation
from lehr.contracts.registry import Alias, RunRecord

# A model that met every rule may still be refused, by what the reason of its run ends with.
_AFTER_THE_GATE = {
    "approval-expired": re.compile(r"; nobody approved it within \d[^;]*$"),
    "approval-rejected": re.compile(r"; rejected by "),
    "canary-rolled-back": re.compile(r"; [^;]*(?:taken back|withdrawn|rolled back)[^;]*$"),
}
SENTENCES = {
    "approval-expired": "The model met every rule of the gate, and nobody approved its promotion in time.",
    "approval-rejected": "The model met every rule of the gate, and a person decided against it.",
    "canary-rolled-back": (
        "The model met every rule of the gate, and was taken back while it served a share of the requests."
    ),
    "gate-refused": "The model was trained and judged, and a rule of the gate was not met. The champion stays.",
    "promoted": "The model met every rule of the gate.",
}


def explain_decision(record: RunRecord, decision: Decision | None, alias: Alias | None) -> Explanation:
    """Of a run that ended as promoted or rejected; a decision that has expired leaves the record's reason."""
    rules = decision.rules if decision else []
    name = "promoted" if record.status == "promoted" else _refusal(record, rules)
    sentence = SENTENCES[name]
    shown = [rule for rule in rules if name == "promoted" or not rule.passed]
    evidence = [
        Evidence(source="decision", text=f"{rule.rule}: {rule.observed}, required {rule.required}")
        for rule in shown
    ] or [Evidence(source="record", text=record.reason)]
    if name == "promoted":
        serves = bool(alias and alias.champion == record.model_version)
        sentence += " It is the champion." if serves else " Another model is the champion by now."
        following = [f"lehr predict {record.project} --row 0", f"lehr report {record.run}"]
    else:
        failed = ", ".join(rule.rule for rule in shown)
        sentence = f"{sentence.removesuffix('.')}: {failed}." if failed else sentence
        following = [f"lehr report {record.run}", f"lehr compare {record.run} champion", "lehr push FOLDER"]
    kept = [f"dataset version {record.dataset_version}"] if record.dataset_version else []
    kept += [f"model package {record.model_version}"] if record.model_version else []
    return Explanation(cause=name, sentence=sentence, evidence=evidence, kept=kept, next=following)


def _refusal(record: RunRecord, rules: list[RuleResult]) -> str:
    """Who refused a model: the gate, unless it met all of its rules and the reason tells of somebody else."""
    if all(rule.passed for rule in rules):
        for name, pattern in _AFTER_THE_GATE.items():
            if pattern.search(record.reason):
                return name
    return "gate-refused"
