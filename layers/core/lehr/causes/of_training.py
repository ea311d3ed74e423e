"""Causes in a training: the project's own code, the numbers, the memory, the export.

A job says one sentence (`output/failure`), which SageMaker puts into FailureReason and a Batch job into its log.
"""

from __future__ import annotations

from lehr.causes.rule import Cause, cause, when

_FIX_CODE = ("lehr push FOLDER", "lehr train {project}")
_TRAIN = "TrainTrials|Train|TrainOnBatch|TrainSlice|RequestTraining"
_LINE = r"(?P<file>[\w./-]+\.py):(?P<line>\d+)"

CAUSES: tuple[Cause, ...] = (
    cause(
        "training-diverged",
        "The loss or a weight stopped being a number, or exploded: no weights of any use can come of it.",
        when(state=_TRAIN, reason=r"is no longer finite (?:at|after) epoch|the loss has exploded"),
        when(
            state="TrainTrials",
            error="ModelPackageError",
            reason=r"loss on the held-out rows is not finite|its validation_\w+ is (?:nan|inf)",
        ),
        next=(
            "lehr push FOLDER  # with a lower training.learning_rate, or clip_norm",
            "lehr train {project}",
        ),
    ),
    cause(
        "training-hung",
        "The training gave no sign of life for too long and was ended where it stood.",
        when(state=_TRAIN, reason=_LINE + r" .*HangError: no sign of life"),
        when(state=_TRAIN, reason=r"HangError: no sign of life"),
        next=_FIX_CODE,
        details=("{file}, line {line}",),
    ),
    cause(
        "gpu-out-of-memory",
        "The GPU has too little memory for so many rows at a time, also for half of them.",
        when(state=_TRAIN, reason=r"out of memory (?:with|outside).*(?:CUDA|GPU|CUBLAS|CUDNN)"),
        when(state=_TRAIN, reason=r"torch\.OutOfMemoryError|CUDA out of memory"),
        next=(
            "lehr push FOLDER  # with a smaller batch_size, or a larger backend.instance_type",
            "lehr train {project}",
        ),
    ),
    cause(
        "host-out-of-memory",
        "The machine has too little memory for the training.",
        when(state=_TRAIN, reason=r"out of memory (?:with|outside)"),
        when(state=_TRAIN, reason=r"OutOfMemoryError: Container killed due to memory usage"),
        when(state=_TRAIN, reason=r"\bMemoryError\b"),
        when(state=_TRAIN, reason=r"[Ee]xit code: 137\b"),
        when(state=_TRAIN, reason=r"was killed by (?:signal 9|SIGKILL)"),
        next=(
            "lehr push FOLDER  # with a larger backend.instance_type, or backend.memory_mb",
            "lehr train {project}",
        ),
    ),
    cause(
        "disk-full",
        "The disk of the machine is full.",
        when(
            state=r"[A-Z][A-Za-z]+",
            reason=r"No space left on device|\[Errno 28\]|[Nn]ot enough (?:disk )?space|disk is full",
        ),
        next=("lehr push FOLDER  # with a larger backend.volume_gb", "lehr train {project}"),
    ),
    cause(
        "gives-probabilities",
        "The model gives probabilities where logits belong: the loss and the exported graph have the softmax.",
        when(state=_TRAIN, reason=r"the module gives probabilities"),
        next=_FIX_CODE,
    ),
    cause(
        "model-has-wrong-shape",
        "What the project's model gives does not have the shape that the task needs.",
        when(state=_TRAIN, reason=r"for 2 rows the module gives|must give (?:logits|maps)"),
        next=_FIX_CODE,
    ),
    cause(
        "factory-is-not-there",
        "The function that the recipe names for the model or a hook cannot be found among the pushed files.",
        when(
            state=_TRAIN,
            reason=r"there is no module '|\.py has no function '|is the name of an installed module",
        ),
        next=_FIX_CODE,
    ),
    cause(
        "factory-gives-no-model",
        "The project's function gives something that cannot be trained.",
        when(
            state=_TRAIN, reason=r"return a torch\.nn\.Module|returned a module without trainable parameters"
        ),
        next=_FIX_CODE,
    ),
    cause(
        "hook-failed",
        "A hook of the project failed, or gave what it should not.",
        when(state=_TRAIN, reason=r"hooks\.(?P<hook>\w+), (?:" + _LINE + ")?"),
        next=_FIX_CODE,
        details=("hooks.{hook} at {file}, line {line}", "hooks.{hook}"),
    ),
    cause(
        "code-needs-a-package",
        "The project's code imports a package that the training image does not have.",
        when(state=_TRAIN, reason=r"(?:ModuleNotFoundError|ImportError): (?P<what>[^(,]+)"),
        next=("lehr image build FOLDER", "lehr push FOLDER", "lehr train {project}"),
        details=("{what}",),
    ),
    cause(
        "code-has-a-syntax-error",
        "Python cannot read the project's code.",
        when(state=_TRAIN, reason=_LINE + r"[^:]*: (?:SyntaxError|IndentationError|TabError)"),
        next=_FIX_CODE,
        details=("{file}, line {line}",),
    ),
    cause(
        "code-has-another-signature",
        "A function of the project takes other arguments than it is called with.",
        when(
            state=_TRAIN,
            reason=r"TypeError: (?P<what>\w[\w.]*\(\) "
            r"(?:got an unexpected keyword argument|missing \d+ required|takes \d+ positional)[^,(]*)",
        ),
        next=_FIX_CODE,
        details=("{what}",),
    ),
    cause(
        "code-raised-an-error",
        "The project's own code raised an error.",
        when(
            state=_TRAIN,
            reason=_LINE + r"(?: in [\w<>]+)?: [\w.]*(?:Error|Exception|Exit|Warning|Interrupt)\b",
        ),
        next=_FIX_CODE,
        details=("{file}, line {line}",),
    ),
    cause(
        "weights-do-not-fit",
        "The champion's weights, from which the training was to start, are not those of this model.",
        when(state=_TRAIN, reason=r"training\.start_from|\bstart_anew (?:has|leaves) "),
        when(error="UserError", reason=r"training\.start_from"),
        next=(
            "lehr push FOLDER  # without training.start_from, or with the champion's model",
            "lehr train {project}",
        ),
    ),
    cause(
        "operator-has-no-onnx-form",
        "The model uses an operation that has no ONNX form.",
        when(state=_TRAIN, reason=r"the model cannot be exported to ONNX"),
        next=_FIX_CODE,
    ),
    cause(
        "graph-is-random",
        "The exported model still drops out or samples as in training, so its answers would be random.",
        when(state=_TRAIN, reason=r"the exported graph has a \w+ as in training"),
        next=_FIX_CODE,
    ),
    cause(
        "export-parity-refused",
        "The exported graph does not compute what the trained model computes, so it was not published.",
        when(
            state=_TRAIN,
            reason=r"ExportParityError|the exported graph (?:is not the trained model|cannot serve)",
        ),
        when(state=_TRAIN, reason=r"the trained model gives NaN or infinity on \d+ real rows"),
        next=_FIX_CODE,
    ),
    cause(
        "function-took-too-long",
        "The training took all the time that backend.max_runtime_s gives it, slice by slice.",
        when(state=_TRAIN, reason=r"the training has taken backend\.max_runtime_s"),
        next=("lehr push FOLDER  # with a longer backend.max_runtime_s", "lehr train {project}"),
    ),
    cause(
        "slices-move-nothing",
        "Slice after slice of the training function ended where it began: one slice is too short for one update.",
        when(state=_TRAIN, reason=r"slices in a row have moved nothing"),
        next=(
            "lehr push FOLDER  # with another backend.kind, or a smaller batch_size",
            "lehr train {project}",
        ),
    ),
    cause(
        "training-took-too-long",
        "The job was stopped because it ran for longer than backend.max_runtime_s.",
        when(state=_TRAIN, reason=r"MaxRuntimeExceeded|Job attempt duration exceeded timeout"),
        next=("lehr push FOLDER  # with a longer backend.max_runtime_s", "lehr train {project}"),
    ),
    cause(
        "process-was-killed",
        "One of several training processes was killed, or ended without a reason of its own.",
        when(
            state=_TRAIN,
            reason=r"the process of rank \d+ (?:was killed|ended with)|rank \d+ has lost another process",
        ),
        next=("lehr resume {run}",),
    ),
    cause(
        "job-input-missing",
        "The training job was not given what it needs: a channel, a file or a setting.",
        when(
            state=_TRAIN,
            reason=r"the channel has no file|the variable \w+ is not set|there is nothing under s3://"
            r"|lists no training rows",
        ),
        next=("lehr resume {run}",),
    ),
)
