"""Causes in the raw data and in what was made of it."""

from __future__ import annotations

from lehr.causes.rule import Cause, cause, when

FIX_DATA = ("lehr train {project} --data FOLDER",)
SHOW_DATA = ("lehr data show {project}",)
FIX_RECIPE = ("lehr push FOLDER", "lehr train {project}")

CAUSES: tuple[Cause, ...] = (
    cause(
        "shard-changed",
        "A prepared shard is not the file that the manifest names by its sha256: it was changed or is damaged.",
        when(error="MalformedDataError", reason=r"has sha256 [0-9a-f]{64}, the manifest says"),
        when(error="DataError", reason=r"is not what the manifest says"),
        next=("lehr train {project} --data FOLDER",),
    ),
    cause(
        "unit-left-no-result",
        "A unit of the preparation ended without writing its result.",
        when(error="MissingDataError", reason=r"unit \d+ of \d+ has written no result"),
        next=("lehr resume {run}", "sam logs --stack-name lehr --name PrepareShardFunction"),
    ),
    cause(
        "evaluation-part-missing",
        "The evaluation of a shard was never written, so the model cannot be judged.",
        when(error="MissingDataError", reason=r"the evaluation of shard \d+ of \d+ was never written"),
        next=("lehr resume {run}", "sam logs --stack-name lehr --name EvaluateShardFunction"),
    ),
    cause(
        "data-rejected",
        "A check of the data failed, and the recipe says to reject data for that.",
        when(
            error="RejectedDataError",
            reason=r"rows would be set aside: (?:.*? (?P<check>overlap|duplicates))?",
        ),
        when(error="RejectedDataError", reason=r"(?P<check>\b[a-z_]+): [^/\s]"),
        next=("lehr report {run}", "lehr train {project} --data FOLDER"),
        details=("{check}",),
    ),
    cause(
        "schema-differs-from-champion",
        "The columns are not those that the champion was trained with, so the two could never be compared.",
        when(error="MismatchedDataError", reason=r"champion \S+ and this table differ in"),
        next=("lehr data show {project} champion", "lehr push FOLDER"),
    ),
    cause(
        "image-sizes-differ",
        "Images of different size are in data that has to be of one size.",
        when(error="MismatchedDataError", reason=r"training and test images differ in size"),
        when(error="MismatchedDataError", reason=r"disagree on the shape of an image"),
        next=FIX_DATA,
    ),
    cause(
        "class-without-examples",
        "A label that the recipe names has no example in the training rows.",
        when(error="InsufficientDataError", reason=r"no training example of (?P<labels>[^(]+)"),
        next=(*SHOW_DATA, *FIX_DATA),
        details=("{labels}",),
    ),
    cause(
        "split-empty",
        "A split has no rows: there is too little data, or the recipe divides it badly.",
        when(error="InsufficientDataError", reason=r"the \w+ split has no (?:rows|pixels)"),
        next=FIX_DATA,
    ),
    cause(
        "data-insufficient",
        "There is too little in the data to learn or to judge by.",
        when(error="InsufficientDataError"),
        next=(*SHOW_DATA, *FIX_DATA),
    ),
    cause(
        "rows-refused",
        "More rows or files cannot be read than the recipe allows (data.max_refused_fraction).",
        when(error="MalformedDataError", reason=r"\d+ of \d+ (?:rows|files) are refused"),
        next=("aws s3 ls s3://<ArtifactBucket>/quarantine/{project}/{run}/", *FIX_DATA),
    ),
    cause(
        "file-truncated",
        "A file is shorter or longer than its own header says: it was cut off on its way.",
        when(
            error="MalformedDataError",
            reason=r"bytes long; its header promises|truncated|ends (?:early|before)",
        ),
        next=FIX_DATA,
    ),
    cause(
        "data-malformed",
        "A file is not of the format that the recipe says.",
        when(error="MalformedDataError"),
        next=FIX_DATA,
    ),
    cause(
        "pairs-disagree",
        "Two files that belong together have different numbers of rows.",
        when(error="MismatchedDataError", reason=r"\d+ images but \d+ labels"),
        next=FIX_DATA,
    ),
    cause(
        "data-mismatched",
        "Files that belong together do not agree.",
        when(error="MismatchedDataError"),
        next=FIX_DATA,
    ),
    cause(
        "data-changed",
        "A file was overwritten while the run was reading it, so the run would have mixed two states of the data.",
        when(error="ChangedDataError"),
        next=("lehr train {project}",),
    ),
    cause(
        "data-missing",
        "A file that the recipe names, or that was there at the start, is not there.",
        when(error="MissingDataError"),
        next=FIX_DATA,
    ),
    cause(
        "hash-key-missing",
        "The recipe hashes a personal column, and the stack has no key to do it with.",
        when(error="MissingKeyError"),
        next=("sam deploy --parameter-overrides PiiKey=<key>", "lehr train {project}"),
    ),
)
