"""How documents lie in the registry table: what both the SDK's adapter and the endpoint's reader must agree on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from lehr.contracts.document import Document

D = TypeVar("D", bound=Document)


def champion_key(project: str) -> dict[str, str]:
    """The alias has a partition of its own, because IAM can tell partitions apart."""
    return {"pk": f"champion#{project}", "sk": "alias"}


def generation_key(project: str, generation: int) -> dict[str, str]:
    """What the alias was in a generation that has passed; the keys sort as the numbers do."""
    return champion_key(project) | {"sk": f"generation#{generation:010d}"}


def generations_query(project: str) -> dict[str, Any]:
    """Every generation that has passed."""
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :kind)",
        "ExpressionAttributeValues": {":pk": champion_key(project)["pk"], ":kind": "generation#"},
    }


def to_item(record: Document) -> dict[str, Any]:
    """The attributes of a document. DynamoDB has no floats: they go as Decimal of their shortest text."""
    return {name: plain(value) for name, value in record.to_value().items() if value is not None}


def plain(value: Any) -> Any:
    """A value of a document as the SDK takes it."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def from_item(item: dict[str, Any], kind: type[D]) -> D:
    """The document of an item, without its keys. Raises ContractError."""
    return kind.from_value({name: _number(value) for name, value in item.items() if name not in {"pk", "sk"}})


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _number(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_number(inner) for inner in value]
    return value
