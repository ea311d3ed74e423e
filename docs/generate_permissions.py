"""Writes docs/permissions.md: what each role of template.yaml may do, and why, in the words of the template.

    python docs/generate_permissions.py            # write the page
    python docs/generate_permissions.py --check    # exit code 1 if it is out of date

The reason of a statement is the comment beside its Effect. The template is read as text for it, since a parser
drops comments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
PAGE = ROOT / "docs" / "permissions.md"
HEAD = """# Permissions

Generated from `template.yaml` by `docs/generate_permissions.py`; do not edit. A function has what AWS's
`AWSLambdaBasicExecutionRole` and `AWSXRayDaemonWriteAccess` give besides (logs and traces), one that reads a queue
what `AWSLambdaSQSQueueExecutionRole` gives.

The tests in `tests/integration/shield` run the whole system under these permissions: nothing is denied, and without any
one statement something goes wrong. Statements that no local run can need are listed, with the reason, in
`tests/integration/shield/not_exercised.py`.
"""
_EFFECT = re.compile(r"^\s*(?:- )?Effect:\s*(Allow|Deny)\s*(?:#\s*(.*))?$")


@dataclass(frozen=True)
class Statement:
    """One statement of the template, with the comment that says why it is there."""

    owner: str
    effect: str
    actions: list[str]
    resources: list[str]
    conditions: list[str]
    only_if: str
    reason: str


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, which become text as they stand."""


def _short_function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return f"!{suffix} {node.value}"
    value = (
        loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.SequenceNode)
        else loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    )
    return {f"!{suffix}": value}


_Loader.add_multi_constructor("!", _short_function)


def statements(text: str) -> list[Statement]:
    """Every policy statement of a template, in its order. Raises ValueError if comments and statements differ."""
    template = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    reasons = [match[2] or "" for line in text.splitlines() if (match := _EFFECT.match(line))]
    found = [
        (name, statement, condition)
        for name, resource in template["Resources"].items()
        for statement, condition in _statements_in(resource.get("Properties", {}), "")
    ]
    if len(found) != len(reasons):
        raise ValueError(f"{len(found)} statements, but {len(reasons)} lines that begin one")
    return [
        Statement(
            owner=name,
            effect=statement["Effect"],
            actions=_texts(statement["Action"]),
            resources=_texts(statement.get("Resource", "the role itself")),
            conditions=_conditions(statement.get("Condition", {})),
            only_if=condition,
            reason=reason,
        )
        for (name, statement, condition), reason in zip(found, reasons, strict=True)
    ]


def _statements_in(value: Any, condition: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Statements anywhere under `value`, each with the condition of the Fn::If around it."""
    if isinstance(value, list):
        for item in value:
            yield from _statements_in(item, condition)
    if not isinstance(value, Mapping):
        return
    if "Effect" in value and "Action" in value:
        yield value, condition
        return
    for name, item in value.items():
        if name in ("Fn::If", "!If"):
            yield from _statements_in(item[1], item[0])
            yield from _statements_in(item[2], f"not {item[0]}")
        else:
            yield from _statements_in(item, condition)


def _texts(value: Any) -> list[str]:
    texts: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            ((function, parts),) = item.items()
            if function == "!Sub":  # with values of its own: the text names them
                texts.append(_short(parts[0]))
                continue
            texts += [text for part in parts[1:] for text in _texts(part) if text != "!Ref AWS::NoValue"]
        else:
            texts.append(_short(str(item)))
    return texts


def _short(text: str) -> str:
    """An ARN without what is the same for all of them."""
    text = re.sub(r"^!(Sub|GetAtt|Ref) ", "", text)
    text = text.replace("arn:${AWS::Partition}:", "").replace("${AWS::Region}:${AWS::AccountId}:", "")
    return re.sub(r"^\$\{(\w+)\.Arn\}", r"\1", text).removesuffix(".Arn")


def _conditions(conditions: Mapping[str, Any]) -> list[str]:
    found = []
    for operator, tests in conditions.items():
        only_if = ""
        if "!If" in tests:  # an operator of the statement that a parameter switches on
            condition, tests, _ = tests["!If"]
            only_if = f", with {condition}"
        found += [f"{key} {operator} {' or '.join(_texts(wanted))}{only_if}" for key, wanted in tests.items()]
    return found


def page(text: str) -> str:
    """The page for a template."""
    parts = [HEAD]
    owner = ""
    for statement in statements(text):
        if statement.owner != owner:
            owner = statement.owner
            parts.append(f"\n## {owner}\n\n| May | On | Why |\n|---|---|---|\n")
        actions = _list(statement.actions)
        if statement.effect == "Deny":
            actions = f"**never** {actions}"
        where = _list(statement.resources)
        where += "".join(f"<br>if {_code(condition)}" for condition in statement.conditions)
        where += f"<br>with {statement.only_if}" if statement.only_if else ""
        parts.append(f"| {actions} | {where} | {statement.reason} |\n")
    return "".join(parts)


def _list(texts: list[str]) -> str:
    return "<br>".join(_code(text) for text in texts)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def main(arguments: list[str]) -> int:
    wanted = page(TEMPLATE.read_text())
    if arguments == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text() == wanted else 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
