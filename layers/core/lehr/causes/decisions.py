"""Why a model was promoted or refused: the rules of the gate with their numbers. Pure."""

from __future__ import annotations

from lehr.contracts.evaluation import Decision
from lehr.contracts.explanation import Evidence, Explanation
from lehr.contracts.registry import Alias, RunRecord

SENTENCES = {
    "gate-refused": "The model was trained and judged, and a rule of the gate was not met. The champion stays.",
    "promoted": "The model met every rule of the gate.",
}


def explain_decision(record: RunRecord, decision: Decision | None, alias: Alias | None) -> Explanation:
    """Of a run that ended as promoted or rejected; a decision that has expired leaves the record's reason."""
    name = "promoted" if record.status == "promoted" else "gate-refused"
    sentence = SENTENCES[name]
    rules = decision.rules if decision else []
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
