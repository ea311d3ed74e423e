"""Inputs and outputs of the states: one pair per function that the state machine calls.

Nothing large travels here: documents go through S3, these carry names, versions and verdicts.
"""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part
from lehr.contracts.explanation import Explanation
from lehr.contracts.recipe_tables import Rollout
from lehr.contracts.registry import RunRecord, StartCause
from lehr.contracts.training import Trial


class S3Location(Part, frozen=True, kw_only=True):
    """Bucket and key, as an ItemReader wants them."""

    bucket: str
    key: str


class Resources(Part, frozen=True, kw_only=True):
    """What a training job runs on; from the recipe's [backend]."""

    instance_type: str
    instance_count: int
    volume_gb: int
    max_runtime_s: int
    vcpus: int
    memory_mb: int
    gpus: int


class Attempt(Part, frozen=True, kw_only=True):
    """One way to get a trial trained. The next is taken when this one found no capacity.

    On SageMaker `has_local_storage` holds for all its instance types or for none. `keep_alive_s`: 0 for no warm pool.
    A function is an instance type of its own, see function_types.
    """

    backend: Literal["sagemaker", "batch", "lambda"] = "sagemaker"
    spot: bool
    instance_types: list[str]
    has_gpu: bool
    max_wait_s: int
    has_local_storage: bool
    keep_alive_s: int


class RunInput(Document, frozen=True, kw_only=True):
    """Input of an execution, written by start_run.

    `plan` are the Map's items: the units of the plan, or the calls that share them out (see prepare_calls).
    `initial_uri` is the channel with the weights that training starts from, of the model version `initial_version`;
    both are empty for random ones. `approval_expires_s` is for how long a person is waited for, 0 for not at all.
    `wall_s` is for how long each trial may train (see lehr.estimates), 0 for as long as its jobs may.

    In the execution of a resume, `resumes` counts it, `is_prepared` says that nothing is left to prepare, and `round`
    is the round of trials to go on with.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    code_sha: str
    code_uri: str
    plan: S3Location
    trial_concurrency: int
    attempts: list[Attempt]
    resources: Resources
    checkpoint_prefix: str
    output_prefix: str
    initial_version: str = ""
    initial_uri: str = ""
    resumes: int = 0
    is_prepared: bool = False
    round: int = 0
    approval_expires_s: int = 0
    rollout: Rollout = Rollout()
    wall_s: int = 0


class RunStart(Document, frozen=True, kw_only=True):
    """What a run is started with, and its record: whoever finds its turn taken and nothing started can do it."""

    schema: Literal[1] = 1
    input: RunInput
    record: RunRecord


class StartRequest(Document, frozen=True, kw_only=True):
    """A direct call of start_run, as `lehr train` and a schedule make it.

    `is_end_of_run`: a run has ended, and something is only to be done if triggers have waited for that. `resume` is a
    failed run that shall go on, in the place of a new one.
    What was asked for by a `cause` is held against [retrain] of the recipe.
    """

    schema: Literal[1] = 1
    project: str
    trigger: str = ""
    is_end_of_run: bool = False
    resume: str = ""
    cause: StartCause = ""


class StartAnswer(Document, frozen=True, kw_only=True):
    """What start_run did; `error` names the kind of a refusal."""

    schema: Literal[1] = 1
    project: str
    outcome: Literal["started", "queued", "nothing_new", "refused"]
    run: str = ""
    execution_arn: str = ""
    reason: str
    error: str = ""


class SealRequest(Document, frozen=True, kw_only=True):
    """Input of SealDataset."""

    project: str
    run: str


class SealedDataset(Document, frozen=True, kw_only=True):
    """Output of SealDataset. The URIs are the training channels: those of shards are lists (`lehr.channel_lists`)."""

    version: str
    manifest_uri: str
    train_uri: str
    validation_uri: str
    rows: dict[str, int]


# How a stock container of AWS becomes the trainer, by the channel `trainer`, and an image with the trainer in it.
STOCK_ENTRYPOINT = ["bash", "/opt/ml/input/data/trainer/start.sh"]
OWN_ENTRYPOINT = ["python", "-m", "lehr_trainer"]


class PublishedTrainer(Document, frozen=True, kw_only=True):
    """Output of PublishTrainer: the image of a training job, how it is started, and the source it is given.

    `uri` is the channel with the source, and `version` names its content; both are empty if the image has it in it.
    """

    version: str
    uri: str
    gpu_image: str
    cpu_image: str
    entrypoint: list[str]


class EarlierAttempt(Part, frozen=True, kw_only=True):
    """A job that did not end its trial, and was billed all the same."""

    job: str
    billable_seconds: int | None = None
    instance_type: str = ""


class TrialResult(Part, frozen=True, kw_only=True):
    """Output of one iteration of TrainTrials.

    The seconds are of one instance; None: the backend did not say. `instance_type`: the one that was chosen.
    """

    id: str
    status: Literal["Completed", "Failed"]
    job: str
    model: str = ""
    image: str = ""
    error: str = ""
    cause: str = ""
    training_seconds: int | None = None
    billable_seconds: int | None = None
    instance_type: str = ""
    earlier: tuple[EarlierAttempt, ...] = ()


class ProposeRequest(Document, frozen=True, kw_only=True):
    """Input of ProposeTrials: the number of the round to propose, and what came of the trials of the one before.

    `wall_s` is that of a RunInput.
    """

    project: str
    run: str
    round: int
    results: list[TrialResult]
    wall_s: int = 0


class ProposedTrials(Document, frozen=True, kw_only=True):
    """Output of ProposeTrials: trials to train, or what the sweep has come to.

    With the verdict "failed", `error` and `cause` are those of a trial, for RecordFailure.
    """

    verdict: Literal["train", "complete", "failed"]
    trials: list[Trial]
    error: str = ""
    cause: str = ""


class PackageRequest(Document, frozen=True, kw_only=True):
    """Input of PackageModel."""

    project: str
    run: str
    dataset_version: str
    code_sha: str
    trainer_version: str = ""
    initial_version: str = ""
    instance_type: str
    instance_count: int = 1
    keep_alive_s: int = 0


class PackagedModel(Document, frozen=True, kw_only=True):
    """Output of PackageModel: the candidate, whom it meets, and the plan of the evaluation."""

    version: str
    trial: str
    champion: str | None
    generation: int
    plan: S3Location


class JudgeRequest(Document, frozen=True, kw_only=True):
    """Input of JudgeModel."""

    project: str
    run: str
    dataset_version: str
    candidate: str
    champion: str | None = None


class Judgement(Document, frozen=True, kw_only=True):
    """Output of JudgeModel: accuracies, or what a task has instead of them; all numbers are in evaluation.json."""

    verdict: Literal["promote", "reject"]
    reason: str
    accuracy: float | None = None
    champion_accuracy: float | None = None
    rmse: float | None = None
    champion_rmse: float | None = None
    mean_iou: float | None = None
    champion_mean_iou: float | None = None
    map50: float | None = None
    champion_map50: float | None = None


class PromoteRequest(Document, frozen=True, kw_only=True):
    """Input of PromoteModel: `generation` is the one that the candidate was judged at (0: no champion), or watched at.

    With "begin" it becomes champion or, by its rollout, a canary first; with "withdraw" it is none any more.
    """

    project: str
    run: str
    version: str
    generation: int
    step: Literal["begin", "complete", "withdraw"] = "begin"
    rollout: Rollout = Rollout()
    reason: str = ""


class Promotion(Document, frozen=True, kw_only=True):
    """Output of PromoteModel. `is_baking`: the candidate is a canary, and has to be watched."""

    champion: str
    previous: str | None
    generation: int
    is_baking: bool = False


class WatchRequest(Document, frozen=True, kw_only=True):
    """Input of WatchCanary: what bakes since `began_at`, and by which rules."""

    project: str
    run: str
    version: str
    generation: int
    began_at: str
    rollout: Rollout


class WatchedCanary(Document, frozen=True, kw_only=True):
    """Output of WatchCanary: whether to look again in `wait_s`, or what to do, and with which figures."""

    verdict: Literal["bake", "complete", "withdraw"]
    reason: str
    wait_s: int = 0


class FailureRequest(Document, frozen=True, kw_only=True):
    """Input of RecordFailure: what a Catch saw."""

    project: str
    run: str
    state: str
    error: str
    cause: str


class Failure(Document, frozen=True, kw_only=True):
    """`failure.json`, and the output of RecordFailure: one sentence first, then the evidence.

    `summary` is what a notification says: the reason, what it means, what is kept, what to type.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    state: str
    error: str
    reason: str
    log_tail: list[str]
    log_url: str
    explanation: Explanation | None = None
    summary: str = ""


class ReportRequest(Document, frozen=True, kw_only=True):
    """Input of WriteReport."""

    project: str
    run: str
    execution_arn: str
    outcome: Literal["promoted", "rejected", "failed"]
