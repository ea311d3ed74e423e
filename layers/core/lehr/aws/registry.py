"""`ModelRegistry` over one DynamoDB table.

Every record has `pk` = project#<name> and `sk` = <kind>#<id>, and the fields of its document as attributes.
Documents are append-only; the two that change are a run (its end is written once) and the alias, which
moves by a conditional write on its generation. The alias has a partition of its own, `pk` = champion#<name>,
because IAM can tell partitions apart, and only one role may move a champion. The fields are plain attributes
because the state machine writes the end of a rejected run without a function.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from lehr.aws.items import champion_key, from_item
from lehr.clock import now
from lehr.contracts.document import Document
from lehr.contracts.registry import (
    Alias,
    DatasetRecord,
    ErasureRecord,
    ModelRecord,
    RunRecord,
    TriggerRecord,
    Turn,
)
from lehr.errors import ChampionChangedError

_CONDITION_FAILED = "ConditionalCheckFailedException"
_TURN = "turn"
_REFUSAL = "refusal"
MAX_WAITING = 100


class DynamoModelRegistry:
    """The registry of every project in one table; `table` is a boto3 DynamoDB Table resource."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def alias(self, project: str) -> Alias | None:
        item = self._table.get_item(Key=champion_key(project), ConsistentRead=True).get("Item")
        return from_item(item, Alias) if item else None

    def promote(self, project: str, version: str, *, run: str, generation: int) -> Alias:
        """Make `version` champion if the alias is still at `generation` (0: no alias yet).

        Raises ChampionChangedError if another run moved it first. A write whose reply was lost is
        recognised by its owner and counts as done.
        """
        current = self.alias(project)
        moved = Alias(
            project=project,
            champion=version,
            previous=current.champion if current else None,
            generation=generation + 1,
            owner=run,
            updated_at=now(),
        )
        if current and current.owner == run and current.champion == version:
            return current
        condition = "attribute_not_exists(pk)" if generation == 0 else "generation = :judged"
        values = {} if generation == 0 else {":judged": generation}
        try:
            self._table.put_item(
                Item=champion_key(project) | _to_item(moved),
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": values} if values else {}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise
            now_serving = self.alias(project)
            if now_serving and now_serving.owner == run and now_serving.champion == version:
                return now_serving
            raise ChampionChangedError(
                f"{project}: judged at generation {generation}, the alias is now at "
                f"{now_serving.generation if now_serving else 0}"
            ) from fault
        return moved

    def retire(self, project: str, *, generation: int) -> None:
        """Have no champion any more. Raises ChampionChangedError unless the alias is still at `generation`."""
        try:
            self._table.delete_item(
                Key=champion_key(project),
                ConditionExpression="attribute_not_exists(pk) OR generation = :known",
                ExpressionAttributeValues={":known": generation},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise
            raise ChampionChangedError(f"{project} is no longer at generation {generation}") from fault

    def add_model(self, record: ModelRecord) -> None:
        self._add_once(record.project, f"model#{record.version}", record)

    def models(self, project: str) -> list[ModelRecord]:
        """Every model version of a project, newest first."""
        records = [from_item(item, ModelRecord) for item in self._items(project, "model#")]
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    def add_erasure(self, record: ErasureRecord) -> None:
        self._add_once(record.project, f"erasure#{record.erasure}", record)

    def erasures(self, project: str) -> list[ErasureRecord]:
        """What was deleted for good, newest first."""
        records = [from_item(item, ErasureRecord) for item in self._items(project, "erasure#")]
        return sorted(records, key=lambda record: record.at, reverse=True)

    def add_dataset(self, record: DatasetRecord) -> None:
        self._add_once(record.project, f"dataset#{record.version}", record)

    def add_trigger(self, record: TriggerRecord) -> None:
        """Write what came of a trigger; a later answer takes the place of "queued" alone."""
        self._put_if(
            _key(record.project, f"trigger#{record.trigger}") | _to_item(record),
            "attribute_not_exists(pk) OR outcome = :queued",
            {":queued": "queued"},
        )

    def trigger(self, project: str, trigger: str) -> TriggerRecord | None:
        item = self._table.get_item(Key=_key(project, f"trigger#{trigger}"), ConsistentRead=True).get("Item")
        return from_item(item, TriggerRecord) if item else None

    def set_refusal(self, record: TriggerRecord) -> None:
        """Keep the last refusal of a project apart: whoever drops data without the command knows no trigger's id."""
        self._table.put_item(Item=_key(record.project, _REFUSAL) | _to_item(record))

    def refusal(self, project: str) -> TriggerRecord | None:
        """The last trigger that was refused."""
        item = self._table.get_item(Key=_key(project, _REFUSAL), ConsistentRead=True).get("Item")
        return from_item(item, TriggerRecord) if item else None

    def turn(self, project: str) -> Turn | None:
        item = self._table.get_item(Key=_key(project, _TURN), ConsistentRead=True).get("Item")
        return from_item(item, Turn) if item else None

    def take_turn(self, turn: Turn, *, after: Turn | None) -> bool:
        """Write `turn` if nothing has changed since `after` was read (None: there was none); False if something has.

        So whoever has waited since then is not forgotten.
        """
        item = _key(turn.project, _TURN) | _to_item(turn)
        if after is None:
            return self._put_if(item, "attribute_not_exists(pk)", {})
        values = {":number": after.number, ":count": len(after.waiting)}
        return self._put_if(
            item, "#number = :number AND size(waiting) = :count", values, {"#number": "number"}
        )

    def wait_for_turn(self, turn: Turn, trigger: str) -> bool:
        """Have `trigger` wait for the end of `turn`; False if that turn is over. More than MAX_WAITING are not kept:
        they share the run of those that are.
        """
        try:
            self._table.update_item(
                Key=_key(turn.project, _TURN),
                UpdateExpression="SET waiting = list_append(waiting, :trigger)",
                ConditionExpression="#number = :number AND size(waiting) < :most",
                ExpressionAttributeNames={"#number": "number"},
                ExpressionAttributeValues={
                    ":trigger": [trigger],
                    ":number": turn.number,
                    ":most": MAX_WAITING,
                },
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise
            current = self.turn(turn.project)
            return current is not None and current.number == turn.number
        return True

    def add_run(self, record: RunRecord) -> None:
        self._add_once(record.project, f"run#{record.run}", record)

    def run(self, project: str, run: str) -> RunRecord | None:
        item = self._table.get_item(Key=_key(project, f"run#{run}"), ConsistentRead=True).get("Item")
        return from_item(item, RunRecord) if item else None

    def runs(self, project: str, *, limit: int = 50) -> list[RunRecord]:
        """The latest runs of a project, newest first."""
        records = [from_item(item, RunRecord) for item in self._items(project, "run#")]
        return sorted(records, key=lambda record: record.started_at, reverse=True)[:limit]

    def datasets(self, project: str) -> list[DatasetRecord]:
        """Every dataset version of a project, newest first."""
        records = [from_item(item, DatasetRecord) for item in self._items(project, "dataset#")]
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    def end_run(self, project: str, run: str, **changes: str | float | None) -> None:
        """Write how a run ended. Unnamed fields stay; a run that already ended is left alone."""
        fields = {"ended_at": now()} | {name: value for name, value in changes.items() if value is not None}
        names = {f"#{name}": name for name in fields} | {"#old": "status"}
        values = {f":{name}": _plain(value) for name, value in fields.items()} | {":running": "running"}
        try:
            self._table.update_item(
                Key=_key(project, f"run#{run}"),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
                ConditionExpression="attribute_exists(pk) AND #old = :running",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise

    def resume_run(self, project: str, run: str, *, execution_arn: str, resumes: int) -> None:
        """Have a failed run go on in another execution. One that did not fail is left alone."""
        fields = {
            "status": "running",
            "reason": "",
            "ended_at": "",
            "execution_arn": execution_arn,
            "resumes": resumes,
        }
        try:
            self._table.update_item(
                Key=_key(project, f"run#{run}"),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
                ConditionExpression="#status = :failed",
                ExpressionAttributeNames={f"#{name}": name for name in fields},
                ExpressionAttributeValues={f":{name}": value for name, value in fields.items()}
                | {":failed": "failed"},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise

    def set_run_cost(self, project: str, run: str, usd: float) -> None:
        """Write what a run has cost; twice is the same, and a run that never was stays so."""
        self._set_on_run(project, run, actual_usd=float(usd))

    def set_run_trial(self, project: str, run: str, trial: str, trials: int) -> None:
        """Write which trial of how many has made the model of a run, as `set_run_cost` does."""
        self._set_on_run(project, run, trial=trial, trials=trials)

    def set_run_erased(self, project: str, run: str) -> None:
        """Write that nothing of a run is left, as `set_run_cost` does."""
        self._set_on_run(project, run, is_erased=True)

    def _set_on_run(self, project: str, run: str, **fields: str | float) -> None:
        try:
            self._table.update_item(
                Key=_key(project, f"run#{run}"),
                UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in fields),
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={f":{name}": _plain(value) for name, value in fields.items()},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise

    def _add_once(self, project: str, kind: str, record: Document) -> None:
        """Write an item if there is none: a retried step finds its own and changes nothing."""
        self._put_if(_key(project, kind) | _to_item(record), "attribute_not_exists(pk)", {})

    def _put_if(
        self,
        item: dict[str, Any],
        condition: str,
        values: dict[str, Any],
        names: dict[str, str] | None = None,
    ) -> bool:
        """Whether it was written."""
        try:
            self._table.put_item(
                Item=item,
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": values} if values else {}),
                **({"ExpressionAttributeNames": names} if names else {}),
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise
            return False
        return True

    def _items(self, project: str, kind: str) -> list[dict[str, Any]]:
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :kind)",
            "ExpressionAttributeValues": {":pk": f"project#{project}", ":kind": kind},
        }
        items: list[dict[str, Any]] = []
        while True:
            page = self._table.query(**query)
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                return items
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _key(project: str, kind: str) -> dict[str, str]:
    return {"pk": f"project#{project}", "sk": kind}


def _to_item(record: Document) -> dict[str, Any]:
    """DynamoDB has no floats: they go as Decimal of their shortest text."""
    return {name: _plain(value) for name, value in record.to_value().items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
