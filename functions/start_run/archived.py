"""Archives that a recipe names: their files stand among the project's, as if each had been dropped alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from lehr.archived_objects import ArchivedObjects
from lehr.contracts.data_tables import Data
from lehr.errors import MalformedDataError
from lehr.file_formats import is_archive_name, is_named, split_member
from lehr.ports import ObjectStore, StoredObject


def named_archives(said: Data, names: Sequence[str]) -> list[str]:
    """The archives among the files of a project that a recipe means, or files in them; any may be one that a manifest
    lists."""
    archives = sorted(name for name in names if is_archive_name(name))
    if said.format == "manifest":
        return archives
    others = [said.annotations, said.test_annotations, said.images]
    pairs = [name for files in said.pairs.values() for name in (files.images, files.labels)]
    patterns = [*said.files, *said.test_files, *said.masks, *pairs, *(name for name in others if name)]
    wanted = {(split_member(pattern) or (pattern, ""))[0] for pattern in patterns}
    return [name for name in archives if any(fnmatchcase(name, pattern) for pattern in wanted)]


def with_members(
    said: Data, raw: Mapping[str, StoredObject], data: ObjectStore
) -> tuple[dict[str, StoredObject], ObjectStore]:
    """The files of a project with those of its archives in the place of these, and the store that reads them.

    Raises MalformedDataError for an archive that is damaged, hostile or too large, and for a file that is called as if
    it were in one.
    """
    archives = named_archives(said, list(raw))
    if not archives:
        return dict(raw), data
    for name, entry in raw.items():
        if split_member(name) is not None:
            raise MalformedDataError(
                "is called as a file in an archive would be", place=data.uri(entry.key), hint="rename it"
            )
    store = ArchivedObjects(data)
    found = {name: entry for name, entry in raw.items() if name not in archives}
    for name in archives:
        prefix = raw[name].key.removesuffix(name)
        found |= {member.key.removeprefix(prefix): member for member in store.members(raw[name])}
    return found, store


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those of the names that a pattern means, in order."""
    return sorted(name for name in names if any(is_named(name, pattern) for pattern in patterns))
