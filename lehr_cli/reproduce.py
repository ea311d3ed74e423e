"""`lehr reproduce`: train a model again after its lineage, beside everything that serves, and compare.

lehr reproduce mnist                          the champion
lehr reproduce mnist b7db83d0                 a version, by its start

The training runs on the backend that the lineage names, in an execution of the same state machine. That execution
leads to no package and no promotion: its way ends at the comparison.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.text import Text

from lehr import layout
from lehr.attempts import resources_of
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.key_types import BackendKind
from lehr.contracts.package import LINEAGE_FILE, TRAINING_FILE, WEIGHTS_FILE, Lineage
from lehr.contracts.recipe import RECIPE_FILE, parse_recipe
from lehr.contracts.recipe_tables import Backend
from lehr.contracts.reproduction import (
    DEFAULT_TOLERANCE,
    Comparison,
    ReproduceInput,
    Reproduction,
)
from lehr.contracts.training import LAST_UPDATE, WALL_S, TrainingSummary, Trial
from lehr.contracts.workflow import (
    OWN_ENTRYPOINT,
    STOCK_ENTRYPOINT,
    Attempt,
    PublishedTrainer,
    S3Location,
    SealedDataset,
)
from lehr.errors import ModelPackageError, UserError
from lehr.function_types import memory_of
from lehr.instances import has_gpu, has_local_storage
from lehr.model_packages import check_package
from lehr.reproduction import missing_sources
from lehr_cli.data import ProjectArgument
from lehr_cli.events import ExecutionEnded
from lehr_cli.failures import RunFailedError, VerificationError
from lehr_cli.follow import follow
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import Output
from lehr_cli.stack import Stack
from lehr_cli.verify import ModelArgument, find_model, verifier_of
from lehr_cli.view import RunView

ToleranceOption = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        help="How far an answer may differ where the weights do: a probability, or a share of the largest value.",
    ),
]


@command
def reproduce(
    invocation: Invocation,
    project: ProjectArgument,
    version: ModelArgument = None,
    tolerance: ToleranceOption = DEFAULT_TOLERANCE,
) -> None:
    """Train a model again after its lineage and compare both; the second one is never promoted.

    Exit code 0 if the weights are the same, or the answers within the tolerance; else 1. It costs one training.

    Example: lehr reproduce mnist
    """
    stack, out = invocation.stack, invocation.out
    record = find_model(stack, project, version)
    is_required = stack.parameters.get("PackageSignatures") == "require"
    try:
        check_package(stack.artifacts, project, record.version, verifier_of(stack) if is_required else None)
    except ModelPackageError as fault:
        raise VerificationError(
            f"model {record.version} is not reproduced: {fault}",
            f"what is wrong with it: lehr verify {project} {record.version}",
        ) from fault
    lineage = Lineage.from_json(
        stack.artifacts.get(layout.model_file_key(project, record.version, LINEAGE_FILE))
    )
    request = make_input(stack, record.version, lineage, tolerance)
    started = stack.executions.start_execution(
        stateMachineArn=stack.output("StateMachineArn"),
        name=f"{project}-{request.run}",
        input=request.to_json().decode(),
    )
    arn = started["executionArn"]
    out.say(f"training model {record.version} of {project} again, as {request.run}", "dim")
    invocation.aftermath = f"it goes on; end it with: aws stepfunctions stop-execution --execution-arn {arn}"
    with RunView(out) as view:
        for event in follow(stack, project, request.run, arn):
            view.show(event)
            if isinstance(event, ExecutionEnded):
                invocation.aftermath = "it has ended"
    _tell(out, _comparison(stack, arn))


def make_input(stack: Stack, version: str, lineage: Lineage, tolerance: float) -> ReproduceInput:
    """What the state machine is told, all of it by the lineage.

    Raises UserError where data, code or weights are gone, or the stack has not the backend that trained the model.
    """
    artifacts, project = stack.artifacts, lineage.project
    missing = missing_sources(lineage, artifacts)
    if missing:
        raise UserError(
            f"model {version} cannot be trained again: {'; '.join(missing)}",
            hint=f"what is left of it: lehr verify {project} {version}",
        )
    code = layout.project_prefix(project, lineage.code_sha)
    backend = parse_recipe(
        artifacts.get(code + RECIPE_FILE).decode("utf-8", "replace"), place=code + RECIPE_FILE
    ).backend
    manifest = DatasetManifest.from_json(
        artifacts.get(layout.dataset_manifest_key(project, lineage.dataset_version))
    )
    initial = lineage.initial_version
    # A training job's name has room for 15 characters of it.
    run = f"again-{uuid4().hex[:8]}"
    return ReproduceInput(
        project=project,
        run=run,
        code_sha=lineage.code_sha,
        code_uri=artifacts.uri(code),
        plan=S3Location(
            bucket=artifacts.bucket, key=layout.dataset_manifest_key(project, lineage.dataset_version)
        ),
        trial_concurrency=1,
        attempts=[_attempt(stack, backend, lineage.instance_type)],
        resources=resources_of(backend, lineage.instance_type, backend.max_runtime_s),
        checkpoint_prefix=artifacts.uri(layout.checkpoints_prefix(project, run)),
        output_prefix=artifacts.uri(layout.trials_prefix(project, run)),
        initial_version=initial,
        initial_uri=artifacts.uri(layout.model_file_key(project, initial, WEIGHTS_FILE)) if initial else "",
        reproduction=Reproduction(
            version=version,
            tolerance=tolerance,
            dataset=_dataset(stack, manifest, lineage),
            trainer=_trainer(stack, lineage),
            trial=Trial(
                id=lineage.trial,
                name=lineage.trial,
                hyperparameters=_hyperparameters(stack, version, lineage),
            ),
        ),
    )


def _hyperparameters(stack: Stack, version: str, lineage: Lineage) -> dict[str, str]:
    """Those of the lineage. What ended at its wall ends at the same update, and not at the same second."""
    told = {name: value for name, value in lineage.hyperparameters.items() if name != WALL_S}
    if len(told) == len(lineage.hyperparameters):
        return told
    key = layout.model_file_key(lineage.project, version, TRAINING_FILE)
    ended_at = TrainingSummary.from_json(stack.artifacts.get(key)).wall_update
    return told if ended_at is None else told | {LAST_UPDATE: str(ended_at)}


def _dataset(stack: Stack, manifest: DatasetManifest, lineage: Lineage) -> SealedDataset:
    project, version = lineage.project, lineage.dataset_version
    uri = stack.artifacts.uri
    return SealedDataset(
        version=version,
        manifest_uri=uri(layout.dataset_manifest_key(project, version)),
        train_uri=uri(layout.dataset_channel_key(project, version, "train")),
        validation_uri=uri(layout.dataset_channel_key(project, version, "validation")),
        rows={"train": manifest.rows("train"), "validation": manifest.rows("validation")},
    )


def _trainer(stack: Stack, lineage: Lineage) -> PublishedTrainer:
    """The source that trained the model, in the image that the lineage names."""
    version = lineage.trainer_version
    return PublishedTrainer(
        version=version,
        uri=stack.artifacts.uri(layout.trainer_prefix(version)) if version else "",
        gpu_image=lineage.image,
        cpu_image=lineage.image,
        entrypoint=STOCK_ENTRYPOINT if version else OWN_ENTRYPOINT,
    )


def _attempt(stack: Stack, backend: Backend, instance_type: str) -> Attempt:
    """One way, on demand: the instance type says by its name whose it is. Raises UserError."""
    kind: BackendKind = "sagemaker" if instance_type.startswith("ml.") else "batch"
    if memory_of(instance_type):
        kind = "lambda"
        if stack.function_memory_mb != memory_of(instance_type):
            raise UserError(
                f"a function of {memory_of(instance_type)} MB trained it, and the stack's has "
                f"{stack.function_memory_mb or 'none'}",
                hint="deploy with TrainerFunctionImageUri and TrainerFunctionMemoryMb as they were",
            )
    elif kind == "batch" and not stack.parameters.get("BatchSubnetIds"):
        raise UserError(
            "AWS Batch trained it, and the stack is deployed without", hint="deploy with BatchSubnetIds"
        )
    return Attempt(
        backend=kind,
        spot=False,
        instance_types=[f"ml.{instance_type}" if kind == "batch" else instance_type],
        has_gpu=has_gpu(instance_type),
        max_wait_s=backend.max_runtime_s,
        has_local_storage=has_local_storage(instance_type),
        keep_alive_s=0,
    )


def _comparison(stack: Stack, arn: str) -> Comparison:
    """The execution's own answer. Raises RunFailedError if it has none."""
    described: dict[str, Any] = stack.executions.describe_execution(executionArn=arn)
    if described["status"] != "SUCCEEDED":
        reason = described.get("cause") or described.get("error") or described["status"].lower()
        raise RunFailedError(f"the model was not trained again: {reason}", "try again, or ask lehr doctor")
    return Comparison.from_json(described["output"])


def _tell(out: Output, comparison: Comparison) -> None:
    """Raises VerificationError for another model than the published one, RunFailedError where none was trained."""
    out.emit({"event": "reproduction"} | comparison.to_value())
    if comparison.outcome == "failed":
        raise RunFailedError(
            f"the model was not trained again: {comparison.reason}", "the log of its training job says more"
        )
    for line in comparison_lines(comparison):
        out.say(line)
    if comparison.outcome == "different":
        raise VerificationError(
            f"model {comparison.version} was not reproduced: its weights differ, and its answers by more than "
            f"{comparison.tolerance:g}",
            "what differs in how it was trained is listed above; without any, somebody changed what it says it was "
            "made of, or the project's own code is not deterministic",
        )


def comparison_lines(comparison: Comparison) -> list[Text]:
    """What was compared, with what was the same left out where it explains nothing."""
    if comparison.outcome == "identical":
        graph = "the same bytes" if comparison.is_graph_identical else "other bytes, of another exporter"
        return [
            Text(
                f"model {comparison.version} was reproduced, bit for bit: sha256 of the weights "
                f"{comparison.weights_sha256[:16]}, graph of {graph}",
                "bold green",
            )
        ]
    lines = [
        Text(
            f"weights differ: sha256 {comparison.weights_sha256[:16]}, again {comparison.weights_sha256_again[:16]}",
            "yellow",
        )
    ]
    if comparison.rows:
        logits = comparison.max_logit_difference
        told = f"answers to {comparison.rows} golden rows differ by {comparison.max_difference:.2e} at most"
        told += "" if logits is None else f", logits by {logits:.2e}"
        changes = comparison.label_changes
        told += "" if changes is None else f"; {changes} of them get another label"
        lines.append(Text(f"{told} (tolerance {comparison.tolerance:g})"))
    else:
        lines.append(Text("the package has no golden rows: only figures can be compared"))
    lines += [Text(f"    {one.name}: {one.original}, again {one.again}") for one in comparison.figures]
    lines += [
        Text(f"    {one.name} was {one.original}, is {one.again}: it may change bits", "dim")
        for one in comparison.circumstances
    ]
    if comparison.outcome == "within_tolerance":
        lines.append(Text(f"model {comparison.version} was reproduced, within the tolerance", "bold green"))
    return lines
