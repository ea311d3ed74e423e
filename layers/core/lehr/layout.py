"""The S3 layout: the only module that builds an object key.

incoming/<project>/…                         raw data as the user drops it; _READY commits it   (data bucket)
projects/<project>/<code-sha>/               recipe and user code; head.json names the current one
datasets/<project>/<version>/manifest.json   and the lists of the channels, train.json and validation.json;
                                             statistics.json, samples.json, card.html
datasets/<project>/shards/<sha256>           what versions are made of, each once; lists/<sha256>.json of raw files
quarantine/<project>/<run>/…                 refused records with reasons
runs/<project>/<run>/…                       plan, staged shards, trials, sweep, evaluation, decision, report
models/<project>/<version>/                  model package
drift/<project>/latest.json                  what the last look at the endpoint found; <time>.json where drift
batches/<project>/…                          rows to predict: by their owner, or upload-<id>/input      (data bucket)
batches/<project>/<batch>/                   plan, units, parts and result of a batch prediction
trainer/<version>/                           the trainer's source, for a stock container of AWS
images/<version>/source.zip                  what an image of the user's own is built from
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lehr.errors import UserError

if TYPE_CHECKING:
    from lehr.contracts.dataset import Split

READY = "_READY"
PROJECTS = "projects/"
SHARED_SHARDS = "shards/"
MANIFEST = "manifest.json"
PLAN = "plan.json"
# Not a pattern: compiling one is a millisecond of each cold start.
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def checked_name(name: str) -> str:
    """Return `name` if it can be a part of a key. Raises UserError: no path is ever built from anything else."""
    if not 1 <= len(name) <= 63 or name[0] == "-" or not _NAME_CHARACTERS.issuperset(name):
        raise UserError(
            f"{name[:80]!r} is not a name",
            hint="use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit",
        )
    return name


def incoming_prefix(project: str) -> str:
    return f"incoming/{checked_name(project)}/"


def project_of_incoming(key: str) -> str:
    """The project whose folder `key` lies in. Raises UserError for a key outside incoming/<project>/."""
    parts = key.split("/")
    if len(parts) < 3 or parts[0] != "incoming":
        raise UserError(f"{key[:200]!r} is not under incoming/<project>/")
    return checked_name(parts[1])


def ready_key(project: str) -> str:
    return incoming_prefix(project) + READY


def project_prefix(project: str, code_sha: str) -> str:
    return f"projects/{checked_name(project)}/{checked_name(code_sha)}/"


def project_head_key(project: str) -> str:
    return f"projects/{checked_name(project)}/head.json"


def datasets_prefix(project: str) -> str:
    """Of all dataset versions of a project. What a manifest lists is relative to it, since versions share it."""
    return f"datasets/{checked_name(project)}/"


def dataset_prefix(project: str, version: str) -> str:
    return f"{datasets_prefix(project)}{checked_name(version)}/"


def shared_shard(sha256: str) -> str:
    """Relative to `datasets_prefix`, as `shared_list` is."""
    return f"{SHARED_SHARDS}{_checked_digest(sha256)}.safetensors"


def shared_list(sha256: str) -> str:
    """Of raw files that a dataset version was made of."""
    return f"lists/{_checked_digest(sha256)}.json"


def _checked_digest(sha256: str) -> str:
    if len(sha256) != 64 or not frozenset("0123456789abcdef").issuperset(sha256):
        raise ValueError(f"{sha256[:80]!r} is no SHA-256 in hexadecimal digits")
    return sha256


def dataset_manifest_key(project: str, version: str) -> str:
    return dataset_prefix(project, version) + MANIFEST


def dataset_statistics_key(project: str, version: str) -> str:
    return dataset_prefix(project, version) + "statistics.json"


def dataset_samples_key(project: str, version: str) -> str:
    return dataset_prefix(project, version) + "samples.json"


def dataset_card_key(project: str, version: str) -> str:
    return dataset_prefix(project, version) + "card.html"


def saved_card_name(project: str, version: str) -> str:
    """Of a data card on a person's machine, in the folder of the reports that link to it."""
    return f"{checked_name(project)}-{checked_name(version)}.card.html"


def dataset_channel_key(project: str, version: str, split: Split) -> str:
    """Of the list of a split's shards, which a training job is given as its channel."""
    return f"{dataset_prefix(project, version)}{split}.json"


def shard_name(index: int, of: int) -> str:
    return f"shard-{index:05d}-of-{of:05d}.safetensors"


def runs_prefix(project: str) -> str:
    return f"runs/{checked_name(project)}/"


def run_prefix(project: str, run: str) -> str:
    return f"{runs_prefix(project)}{checked_name(run)}/"


def plan_key(project: str, run: str) -> str:
    return run_prefix(project, run) + PLAN


def resumed_plan_key(project: str, run: str, number: int) -> str:
    """Of what a resume of the run still has to prepare."""
    return f"{run_prefix(project, run)}plan-resumed-{number}.json"


def start_key(project: str, run: str) -> str:
    """Of what its execution is started with."""
    return run_prefix(project, run) + "start.json"


def calls_key(project: str, run: str) -> str:
    """Of the calls that share out a plan's units, where each is not a call of its own."""
    return run_prefix(project, run) + "calls.json"


def file_list_key(project: str, run: str, index: int) -> str:
    return f"{run_prefix(project, run)}lists/list-{index:05d}.json"


def file_versions_key(project: str, run: str, index: int) -> str:
    return f"{run_prefix(project, run)}lists/versions-{index:05d}.json"


def recipe_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "recipe.json"


def prepared_prefix(project: str, run: str) -> str:
    """Of what the units of a run have written: results, shards, profiles."""
    return run_prefix(project, run) + "prepared/"


def staged_shard_key(project: str, run: str, split: Split, index: int, of: int) -> str:
    return f"{run_prefix(project, run)}prepared/{split}/{shard_name(index, of)}"


def staged_table_shard_key(project: str, run: str, split: Split, unit: int, number: int) -> str:
    return f"{run_prefix(project, run)}prepared/{split}/unit-{unit:05d}-{number:05d}.safetensors"


def staged_table_part_key(project: str, run: str, split: Split, unit: int, part: str, number: int) -> str:
    """Of a unit that takes several calls."""
    return f"{run_prefix(project, run)}prepared/{split}/{_unit_name(unit, part)}-{number:05d}.safetensors"


def quarantine_prefix(project: str, run: str) -> str:
    return f"quarantine/{checked_name(project)}/{checked_name(run)}/"


def quarantine_key(project: str, run: str, unit: int, part: int = 0) -> str:
    name = f"unit-{unit:05d}" + (f"-part-{part:05d}" if part else "")
    return f"{quarantine_prefix(project, run)}{name}.jsonl"


def set_aside_key(project: str, run: str) -> str:
    """Of the rows that a check over the whole data has taken out."""
    return f"{quarantine_prefix(project, run)}checks.jsonl"


def unit_result_key(project: str, run: str, index: int) -> str:
    return f"{run_prefix(project, run)}prepared/unit-{index:05d}.json"


def unit_profile_key(project: str, run: str, index: int, part: str = "") -> str:
    """`part` names what one call has written of a unit that takes several."""
    return f"{run_prefix(project, run)}prepared/{_unit_name(index, part)}.profile.json"


def unit_rows_key(project: str, run: str, index: int, part: str = "") -> str:
    return f"{run_prefix(project, run)}prepared/{_unit_name(index, part)}.rows.safetensors"


def _unit_name(index: int, part: str) -> str:
    return f"unit-{index:05d}-{part}" if part else f"unit-{index:05d}"


def kept_shard_key(project: str, run: str, split: Split, unit: int, number: int) -> str:
    """Of a staged shard, without the rows that were set aside."""
    return f"{run_prefix(project, run)}prepared/{split}/kept-{unit:05d}-{number:05d}.safetensors"


def data_checks_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "checks.json"


def unit_part_key(project: str, run: str, index: int, part: int) -> str:
    return f"{run_prefix(project, run)}prepared/unit-{index:05d}-part-{part:05d}.json"


def table_schema_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "table.json"


def trials_prefix(project: str, run: str) -> str:
    return run_prefix(project, run) + "trials/"


def proposal_key(project: str, run: str, number: int) -> str:
    """Of the trials of a round, counted from 0."""
    return f"{run_prefix(project, run)}sweep/round-{number:05d}.json"


def round_result_key(project: str, run: str, number: int) -> str:
    return f"{run_prefix(project, run)}sweep/result-{number:05d}.json"


def sweep_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "sweep/sweep.json"


def checkpoints_prefix(project: str, run: str) -> str:
    return run_prefix(project, run) + "checkpoints/"


def evaluation_plan_key(project: str, run: str, candidate: str, champion: str | None) -> str:
    return f"{_evaluation_prefix(project, run, candidate, champion)}plan.json"


def evaluation_part_key(project: str, run: str, candidate: str, champion: str | None, index: int) -> str:
    return f"{_evaluation_prefix(project, run, candidate, champion)}part-{index:05d}.json"


def evaluations_prefix(project: str, run: str) -> str:
    """Of the folders `<candidate>-vs-<champion>/` of a run."""
    return run_prefix(project, run) + "evaluation/"


def _evaluation_prefix(project: str, run: str, candidate: str, champion: str | None) -> str:
    """One folder per pairing, so that judging again against a new champion cannot read old parts."""
    return (
        f"{evaluations_prefix(project, run)}{checked_name(candidate)}-vs-{checked_name(champion or 'none')}/"
    )


def evaluation_report_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "evaluation.json"


def decision_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "decision.json"


def failure_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "failure.json"


def cost_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "cost.json"


def report_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "report.html"


def reproduction_key(project: str, run: str) -> str:
    return run_prefix(project, run) + "reproduction.json"


def model_prefix(project: str, version: str) -> str:
    return f"models/{checked_name(project)}/{checked_name(version)}/"


def model_file_key(project: str, version: str, name: str) -> str:
    return model_prefix(project, version) + name


def drift_report_key(project: str) -> str:
    """Of the last look at the endpoint's predictions."""
    return f"drift/{checked_name(project)}/latest.json"


def drift_found_key(project: str, at: str) -> str:
    """Of a look that found drift, at a time as `lehr.clock` gives it."""
    return f"drift/{checked_name(project)}/{at.replace(':', '').replace('.', '')}.json"


def trainer_prefix(version: str) -> str:
    return f"trainer/{checked_name(version)}/"


def trainer_file_key(version: str, name: str) -> str:
    return trainer_prefix(version) + name


def image_source_key(version: str) -> str:
    return f"images/{checked_name(version)}/source.zip"


def batches_prefix(project: str) -> str:
    """Where rows to predict lie in the data bucket."""
    return f"batches/{checked_name(project)}/"


def batch_upload_prefix(project: str, upload: str) -> str:
    return f"{batches_prefix(project)}{checked_name(upload)}/"


def batch_upload_key(project: str, upload: str) -> str:
    return batch_upload_prefix(project, upload) + "input"


def batch_prefix(project: str, batch: str) -> str:
    return f"batches/{checked_name(project)}/{checked_name(batch)}/"


def batch_key(project: str, batch: str) -> str:
    return batch_prefix(project, batch) + "batch.json"


def batch_plan_key(project: str, batch: str) -> str:
    return batch_prefix(project, batch) + "plan.json"


def batch_units_prefix(project: str, batch: str) -> str:
    return batch_prefix(project, batch) + "units/"


def batch_unit_key(project: str, batch: str, index: int) -> str:
    return f"{batch_units_prefix(project, batch)}unit-{index:05d}.json"


def batch_part_key(project: str, batch: str, index: int) -> str:
    return f"{batch_prefix(project, batch)}parts/part-{index:05d}.jsonl"


def batch_result_key(project: str, batch: str) -> str:
    return batch_prefix(project, batch) + "result.json"


def batch_predictions_key(project: str, batch: str, index: int) -> str:
    return f"{batch_prefix(project, batch)}predictions-{index:05d}.jsonl"
