"""Which permissions a request to DynamoDB needs, and whose items it names.

`dynamodb:LeadingKeys` holds the partition keys that a request names; a scan names none, so it has no such key. Nor
has a query of an index here, whose partition key is not the table's.
docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lehr_local.shield.policies import Demand

# The partition key of a table; None for a table that does not exist.
PartitionKeyOf = Callable[[str], str | None]
ArnOf = Callable[[str], str]

_TRANSACTION_PARTS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "ConditionCheck": "ConditionCheckItem",
}
# `#name = :value`: a partition key can be asked for in no other way.
_EQUALITY = re.compile(r"([#\w.-]+)\s*=\s*(:\w+)")


def dynamodb_demands(
    operation: str, parameters: Mapping[str, Any], arn_of: ArnOf, partition_key_of: PartitionKeyOf
) -> list[Demand]:
    """What a call needs: a transaction the permission of each item, a batch that of each table."""
    reader = _Reader(arn_of, partition_key_of)
    if "TransactItems" in parameters:
        parts = [part for entry in parameters["TransactItems"] for part in entry.items()]
        return [reader.of_table(_TRANSACTION_PARTS[verb], item) for verb, item in parts]
    requested = parameters.get("RequestItems")
    if isinstance(requested, Mapping):
        return [reader.of_batch(operation, name, requests) for name, requests in requested.items()]
    return [reader.of_table(operation, parameters)]


class _Reader:
    """Reads requests of one account and region."""

    def __init__(self, arn_of: ArnOf, partition_key_of: PartitionKeyOf) -> None:
        self._arn_of = arn_of
        self._partition_key_of = partition_key_of

    def of_table(self, operation: str, parameters: Mapping[str, Any]) -> Demand:
        given = parameters.get("TableName")
        if not given:
            return Demand(f"dynamodb:{operation}", "*")
        name = _name_of(given)
        if "IndexName" in parameters:
            return self._demand(operation, f"table/{name}/index/{parameters['IndexName']}", [])
        key = self._partition_key_of(name)
        item = parameters.get("Key") or parameters.get("Item")
        values = [item.get(key)] if item else _asked_for(parameters, key)
        return self._demand(operation, f"table/{name}", values)

    def of_batch(self, operation: str, given: str, requests: Any) -> Demand:
        """One demand for all items of a table; those to read are `Keys`, those to write a list of requests."""
        name = _name_of(given)
        key = self._partition_key_of(name)
        if isinstance(requests, Mapping):
            items = requests.get("Keys", [])
        else:
            items = [
                part.get("Item") or part.get("Key") or {} for entry in requests for part in entry.values()
            ]
        return self._demand(operation, f"table/{name}", [item.get(key) for item in items])

    def _demand(self, operation: str, resource: str, values: Iterable[Mapping[str, Any] | None]) -> Demand:
        # In DynamoDB's JSON a value is {"<type>": <value>}.
        keys = tuple(dict.fromkeys(str(next(iter(value.values()))) for value in values if value))
        context = {"dynamodb:LeadingKeys": keys} if keys else {}
        return Demand(f"dynamodb:{operation}", self._arn_of(resource), context)


def _name_of(given: Any) -> str:
    """A table may be named by its ARN."""
    return str(given).rpartition("/")[2]


def _asked_for(parameters: Mapping[str, Any], key: str | None) -> Iterable[Mapping[str, Any] | None]:
    """The partition key that a query asks for."""
    values = parameters.get("ExpressionAttributeValues") or {}
    names = parameters.get("ExpressionAttributeNames") or {}
    for name, placeholder in _EQUALITY.findall(parameters.get("KeyConditionExpression") or ""):
        if names.get(name, name) == key:
            yield values.get(placeholder)
    # The form that came before expressions.
    legacy = (parameters.get("KeyConditions") or {}).get(key) or {}
    yield from legacy.get("AttributeValueList", [])
