"""Causes between a trained model and its promotion, and those for which a run is not started at all."""

from __future__ import annotations

from lehr.causes.rule import Cause, cause, when

_FIX_RECIPE = ("lehr push FOLDER", "lehr train {project}")

CAUSES: tuple[Cause, ...] = (
    cause(
        "champion-changed-too-often",
        "Other promotions came first each time that this model was judged, and after three more it was given up.",
        when(error="ChampionChangedError"),
        next=("lehr runs {project}", "lehr resume {run}"),
    ),
    cause(
        "labels-differ-from-champion",
        "Champion and candidate answer with different labels or take different inputs, so no row can judge both.",
        when(error="ModelPackageError", reason=r"the same rows cannot judge both"),
        next=("lehr push FOLDER  # under another project.name",),
    ),
    cause(
        "package-too-large",
        "The model is larger than what a package may hold.",
        when(error="ModelPackageError", reason=r"(?:unpacked it is over|is \d+ bytes, over) \d+|too large"),
        next=("lehr push FOLDER  # with a smaller model", "lehr train {project}"),
    ),
    cause(
        "operator-not-allowed",
        "The exported graph has an operator that the endpoint does not run.",
        when(error="ModelPackageError", reason=r"the operator .* is not (?:allowed|of the ONNX standard)"),
        next=_FIX_RECIPE,
    ),
    cause(
        "answers-are-not-probabilities",
        "The model gives NaN, infinity, or what is no distribution over the labels.",
        when(
            error="ModelPackageError", reason=r"is no probability distribution|the graph gave NaN or infinity"
        ),
        next=_FIX_RECIPE,
    ),
    cause(
        "package-incomplete",
        "What the training left is not a whole model: files are missing, or not what they should be.",
        when(
            error="ModelPackageError",
            reason=r"missing|does not exist|not a readable model archive|is not one regular file",
        ),
        next=("lehr train {project}",),
    ),
    cause(
        "package-refused",
        "The model package must not be loaded.",
        when(error="ModelPackageError"),
        next=("lehr report {run}", "lehr train {project}"),
    ),
    cause(
        "no-trial-completed",
        "No trial of the run has produced a model.",
        when(error="NoCompletedTrialError"),
        when(state="TrainTrials", reason=r"^no trial completed|the trial left no result"),
        next=("lehr report {run}", "lehr train {project}"),
    ),
    cause(
        "package-overwritten",
        "A file of a version that is written once is there already, with other bytes.",
        when(error="OverwriteError"),
        next=("aws s3 ls s3://<ArtifactBucket>/models/{project}/", "lehr train {project}"),
    ),
    cause(
        "budget-of-month-exceeded",
        "With what this month has cost already, the worst case of the run is over the budget of the month.",
        when(error="BudgetError", reason=r"max_usd_per_month = (?P<budget>[\d.e+]+)"),
        next=("lehr cost {project}", "lehr push FOLDER"),
        details=("max_usd_per_month = {budget}",),
    ),
    cause(
        "worst-case-too-dear",
        "The run could cost more than its recipe allows, so it was not started.",
        when(error="BudgetError"),
        next=("lehr cost {project}", "lehr push FOLDER"),
    ),
    cause(
        "price-unknown",
        "The recipe sets a budget for an instance type that is not in the price table.",
        when(error="UnknownPriceError"),
        next=("lehr cost {project} --refresh --aws", "lehr push FOLDER"),
    ),
    cause(
        "backend-not-deployed",
        "The recipe trains on a backend that the stack was deployed without.",
        when(error="RecipeError", reason=r"and this stack has none"),
        next=("lehr plan FOLDER", "lehr push FOLDER"),
    ),
    cause(
        "recipe-key-unknown",
        "lehr.toml has a key that there is none of; most often it is a slip of the pen.",
        when(error="RecipeError", reason=r"unknown key (?P<key>'[^']+')"),
        next=_FIX_RECIPE,
        details=("{key}",),
    ),
    cause(
        "recipe-missing",
        "The project was pushed without its lehr.toml, or it was deleted.",
        when(error="RecipeError", reason=r"lehr\.toml: is missing"),
        next=_FIX_RECIPE,
    ),
    cause(
        "recipe-refused",
        "lehr.toml asks for something that cannot be.",
        when(error="RecipeError"),
        next=_FIX_RECIPE,
    ),
    cause(
        "project-unknown",
        "Data came for a project that nobody has pushed.",
        when(error="UnknownProjectError"),
        next=("lehr push FOLDER", "lehr train {project}"),
    ),
    cause(
        "failed-too-often",
        "The same data, recipe and code have failed so often that they are not tried again.",
        when(error="UserError", reason=r"the same data, recipe and code have failed \d+ times"),
        next=("lehr runs {project}", "lehr push FOLDER"),
    ),
)
