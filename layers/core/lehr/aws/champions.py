"""Who serves, and who has served: the alias of each project in the registry table, and its earlier generations.

The alias is one item, moved by one conditional write on its generation. Before it is moved, what it says is kept
beside it as `generation#<number>`: an alias never changes within a generation, so whoever writes that item writes the
same. So the history has every generation but the present one, whatever breaks off in between, and a writer whose
reply was lost finds its move there even if the champion has changed again since.
"""

from __future__ import annotations

from typing import Any

import msgspec
from botocore.exceptions import ClientError

from lehr.aws.items import champion_key, from_item, generation_key, generations_query, to_item
from lehr.clock import now
from lehr.contracts.registry import Alias
from lehr.errors import ChampionChangedError

CONDITION_FAILED = "ConditionalCheckFailedException"


class DynamoChampions:
    """The champions of every project in one table; `table` is a boto3 DynamoDB Table resource."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def alias(self, project: str) -> Alias | None:
        return self._alias_at(champion_key(project))

    def champions(self, project: str) -> list[Alias]:
        """Every generation of the alias, the present one first."""
        query = generations_query(project) | {"ConsistentRead": True, "ScanIndexForward": False}
        earlier: list[Alias] = []
        while True:
            page = self._table.query(**query)
            earlier += [from_item(item, Alias) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        # Read last, and so never older than what was found.
        current = self.alias(project)
        newest = current.generation if current else 0
        return ([current] if current else []) + [one for one in earlier if one.generation < newest]

    def promote(self, project: str, version: str, *, run: str, generation: int) -> Alias:
        """Make `version` champion if the alias is still at `generation` (0: no alias yet).

        Raises ChampionChangedError if it was moved meanwhile. A write whose reply was lost is recognised by its
        owner and counts as done.
        """
        return self._move(
            Alias(
                project=project,
                champion=version,
                generation=generation + 1,
                owner=run,
                run=run,
                updated_at=now(),
            )
        )

    def begin_rollout(self, alias: Alias) -> Alias:
        """Set a canary beside the champion, as `promote` moves; `alias` is what it shall be."""
        return self._move(alias)

    def roll_back(
        self, project: str, version: str, *, run: str, owner: str, generation: int, by: str, reason: str
    ) -> Alias:
        """Make `version`, the model of `run`, champion again, as `promote` does; `owner` is this very request's."""
        return self._move(
            Alias(
                project=project,
                champion=version,
                generation=generation + 1,
                owner=owner,
                kind="rollback",
                run=run,
                by=by,
                reason=reason,
                updated_at=now(),
            )
        )

    def retire(self, project: str, *, generation: int) -> None:
        """Have no champion any more, and no history of champions: what is trained next begins anew.

        Raises ChampionChangedError unless the alias is still at `generation`.
        """
        try:
            self._table.delete_item(
                Key=champion_key(project),
                ConditionExpression="attribute_not_exists(pk) OR generation = :known",
                ExpressionAttributeValues={":known": generation},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
                raise
            raise ChampionChangedError(f"{project} is no longer at generation {generation}") from fault
        for passed in range(1, generation):
            self._table.delete_item(Key=generation_key(project, passed))

    def _move(self, wanted: Alias) -> Alias:
        """The alias after the move to `wanted`, or the one that this owner has moved to already."""
        current = self.alias(wanted.project)
        if done := _own(current, wanted):
            return done
        judged = wanted.generation - 1
        if (current.generation if current else 0) == judged:
            moved = _after(current, wanted)
            if self._put(moved, current):
                return moved
        serving = self.alias(wanted.project)
        overtaken = self._alias_at(generation_key(wanted.project, wanted.generation))
        if done := _own(serving, wanted) or _own(overtaken, wanted):
            return done
        raise ChampionChangedError(
            f"{wanted.project}: judged at generation {judged}, the alias is now at "
            f"{serving.generation if serving else 0}"
        )

    def _put(self, moved: Alias, current: Alias | None) -> bool:
        """Whether the alias was moved by this write."""
        item = champion_key(moved.project) | to_item(moved)
        if current is None:
            return self._put_if(item, "attribute_not_exists(pk)", {})
        self._table.put_item(Item=generation_key(current.project, current.generation) | to_item(current))
        return self._put_if(item, "generation = :judged", {":judged": current.generation})

    def _alias_at(self, key: dict[str, str]) -> Alias | None:
        item = self._table.get_item(Key=key, ConsistentRead=True).get("Item")
        return from_item(item, Alias) if item else None

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
            if fault.response["Error"]["Code"] != CONDITION_FAILED:
                raise
            return False
        return True


def _own(alias: Alias | None, wanted: Alias) -> Alias | None:
    """`alias` if it is what this owner wanted: its write was done, and the reply lost."""
    if alias is None:
        return None
    done, meant = ((one.owner, one.champion, one.canary) for one in (alias, wanted))
    return alias if done == meant else None


def _after(current: Alias | None, wanted: Alias) -> Alias:
    """`wanted` with the champion before it: that of `current`, or the one before that where the champion stays."""
    if current and current.champion == wanted.champion:
        return msgspec.structs.replace(wanted, previous=current.previous, run=wanted.run or current.run)
    return msgspec.structs.replace(wanted, previous=current.champion if current else None)
