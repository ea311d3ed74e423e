"""`ModelRegistry` over one DynamoDB table.

Every record has `pk` = project#<name> and `sk` = <kind>#<id>, and the fields of its document as attributes.
Documents are append-only; the two that change are a run (its end is written once) and the alias, which
moves by a conditional write on its generation. The alias has a partition of its own, `pk` = champion#<name>,
because IAM can tell partitions apart, and only one role may move a champion. The fields are plain attributes
because the state machine writes the end of a rejected run without a function.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lehr.aws.champions import CONDITION_FAILED, DynamoChampions
from lehr.aws.items import from_item, plain, to_item
from lehr.clock import now
from lehr.contracts.document import Document
from lehr.contracts.registry import (
    MAX_WAITING,
    DatasetRecord,
    ErasureRecord,
    ModelRecord,
    RunRecord,
    TriggerRecord,
    Turn,
)

_TURN = "turn"
_REFUSAL = "refusal"


class DynamoModelRegistry(DynamoChampions):
    """The registry of every project in one table; `table` is a boto3 DynamoDB Table resource."""

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
            _key(record.project, f"trigger#{record.trigger}") | to_item(record),
            "attribute_not_exists(pk) OR outcome = :queued",
            {":queued": "queued"},
        )

    def trigger(self, project: str, trigger: str) -> TriggerRecord | None:
        item = self._table.get_item(Key=_key(project, f"trigger#{trigger}"), ConsistentRead=True).get("Item")
        return from_item(item, TriggerRecord) if item else None

    def set_refusal(self, record: TriggerRecord) -> None:
        """Keep the last refusal of a project apart: whoever drops data without the command knows no trigger's id."""
        self._table.put_item(Item=_key(record.project, _REFUSAL) | to_item(record))

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
        item = _key(turn.project, _TURN) | to_item(turn)
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
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
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
        values = {f":{name}": plain(value) for name, value in fields.items()} | {":running": "running"}
        try:
            self._table.update_item(
                Key=_key(project, f"run#{run}"),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
                ConditionExpression="attribute_exists(pk) AND #old = :running",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
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
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
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
                ExpressionAttributeValues={f":{name}": plain(value) for name, value in fields.items()},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
                raise

    def _add_once(self, project: str, kind: str, record: Document) -> None:
        """Write an item if there is none: a retried step finds its own and changes nothing."""
        self._put_if(_key(project, kind) | to_item(record), "attribute_not_exists(pk)", {})

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
