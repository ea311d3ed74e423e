"""A run that failed goes on in another execution of its own: how that is named, and until when it may.

Step Functions' own redrive begins at the state that failed. Here every failure is caught, so that it is explained and
announced: the state that fails is the last one, and a redrive would only fail once more.
"""

from __future__ import annotations

# Of one digit: it is a part of the names of training jobs.
MAX_RESUMES = 9
# As long as AWS redrives an execution; staged files and checkpoints expire some time later.
RESUMABLE_DAYS = 14
# With the run and the number of the resume, of the 80 characters of an execution's name.
_PROJECT_CHARACTERS = 60


def execution_name(project: str, run: str, resumes: int = 0) -> str:
    """Of the first execution of a run, or of that of its n-th resume."""
    return f"{project[:_PROJECT_CHARACTERS]}-{run}-m{resumes}" if resumes else f"{project}-{run}"


def executions_of(project: str, run: str, resumes: int, execution_arn: str) -> list[str]:
    """ARNs of all executions of a run in their order; `execution_arn` is that of the last, which is its n-th resume."""
    machine = execution_arn.rpartition(":")[0]
    return [
        *(f"{machine}:{execution_name(project, run, number)}" for number in range(resumes)),
        execution_arn,
    ]
