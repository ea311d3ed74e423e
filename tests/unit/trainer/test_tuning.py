"""Threads and torch.compile are used where they are clearly faster, and a resumed run uses what was found."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lehr.contracts.recipe_tables import Training
from lehr_trainer import tuning
from lehr_trainer.divergence import LossWatch
from lehr_trainer.errors import JobInputError
from lehr_trainer.learner import Learner
from lehr_trainer.tuning import Tuning, tune

MakeJob = Callable[..., Any]
CPU = torch.device("cpu")
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def threads_afterwards() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Machine:
    """Passes that take as long as they are said to, by threads or by mode."""

    def __init__(self, seconds: Callable[[str], float]) -> None:
        self.seconds, self.asked = seconds, []  # type: ignore[var-annotated]

    def make_pass(self, mode: str) -> Callable[[], None]:
        self.asked.append(mode)
        return lambda: time.sleep(self.seconds(mode))


def found(machine: Machine, **settings: Any) -> tuple[Tuning, list[str]]:
    lines: list[str] = []
    defaults: dict[str, Any] = {
        "flops_per_update": 1e12, "updates": 10**6, "compiling": "off", "device": CPU, "environ": {}
    }  # fmt: skip
    return tune(machine.make_pass, **(defaults | settings), log=lines.append), lines


@pytest.mark.parametrize(("gain", "expected"), [(1.9, 4), (1.05, 1), (0.1, 1)])
def test_every_core_is_used_where_one_thread_is_clearly_slower(
    monkeypatch: pytest.MonkeyPatch, gain: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(4)))
    machine = Machine(lambda mode: 0.02 / (gain if torch.get_num_threads() > 1 else 1))
    seen, lines = found(machine)
    assert seen.threads == torch.get_num_threads() == expected
    assert "4 threads have" in lines[0]


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({"flops_per_update": 13e6}, 1),
        ({"device": GPU}, 1),
        ({"environ": {"LEHR_THREADS": "3"}}, 3),
    ],
)
def test_what_is_small_or_said_is_not_tried(settings: dict[str, Any], threads: int) -> None:
    machine = Machine(lambda mode: 0.0)
    assert found(machine, **settings)[0] == Tuning(threads)
    assert not machine.asked


@pytest.mark.parametrize("wish", ["two", "0", "-1"])
def test_threads_that_are_no_number_are_refused(wish: str) -> None:
    with pytest.raises(JobInputError, match=f"LEHR_THREADS is '{wish}'"):
        found(Machine(lambda mode: 0.0), environ={"LEHR_THREADS": wish})


SLOWER = {"": 0.01, "default": 0.02, "reduce-overhead": 0.02}
FASTER = {"": 0.02, "default": 0.01, "reduce-overhead": 0.004}


@pytest.mark.parametrize(
    ("seconds", "settings", "expected"),
    [
        (FASTER, {"device": GPU}, "reduce-overhead"),
        (SLOWER, {"device": GPU}, ""),
        (FASTER, {"device": GPU, "updates": 100}, ""),
        (FASTER, {"device": CPU}, ""),
        (SLOWER, {"device": CPU, "compiling": "on"}, "default"),
        (FASTER, {"device": GPU, "compiling": "off"}, ""),
    ],
)
def test_a_compiled_step_is_used_in_long_runs_on_a_gpu_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], settings: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(tuning, "_wait", lambda device: None)
    machine = Machine(lambda mode: seconds[mode])
    settings = {"compiling": "auto", "flops_per_update": 1.0, "environ": {"LEHR_THREADS": "1"}} | settings
    assert found(machine, **settings)[0].compile_mode == expected


def test_a_model_that_cannot_be_compiled_is_left_as_it_is_unless_compiling_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tuning, "_wait", lambda device: None)

    def seconds(mode: str) -> float:
        if mode:
            raise RuntimeError("no compiler here\nand more")
        return 0.02

    seen, lines = found(Machine(seconds), device=GPU, compiling="auto")
    assert seen.compile_mode == ""
    assert "torch.compile (default) is left out: no compiler here" in lines
    with pytest.raises(JobInputError, match=r"torch\.compile fails: no compiler here"):
        found(Machine(seconds), compiling="on", environ={"LEHR_THREADS": "1"})


def test_a_model_that_cannot_be_tried_runs_as_it_is() -> None:
    def refuse(mode: str) -> Any:
        raise TypeError("cannot deepcopy this")

    lines: list[str] = []
    seen = tune(
        refuse,
        flops_per_update=None,
        updates=1,
        compiling="auto",
        device=GPU,
        environ={"LEHR_THREADS": "2"},
        log=lines.append,
    )
    assert seen == Tuning(2)
    assert lines[0] == "torch.compile cannot be tried: cannot deepcopy this"


@pytest.mark.usefixtures("without_export")
def test_what_was_tried_leaves_no_trace_in_the_weights_of_a_run(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model": 'name = "cnn"\nchannels = [4]\n', "epochs": 1}
    untried, tried = make_job(**settings), make_job(**settings)
    assert untried.run(LEHR_THREADS="1") == 0
    monkeypatch.setattr(tuning, "ONE_THREAD_BELOW_FLOPS", 0.0)
    monkeypatch.setattr(tuning, "THREADS_PAY_FROM", 1e9)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert tried.run() == 0
    assert tried.summary.weights_sha256 == untried.summary.weights_sha256


def test_what_was_found_is_durable_before_the_first_update(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed before its first checkpoint on a timer does not try again, and find another thing."""

    def killed_here(*rest: Any) -> None:
        raise KeyError

    monkeypatch.setattr(LossWatch, "note", killed_here)
    one, two = make_job(), make_job()
    assert one.run(LEHR_THREADS="1") == two.run(LEHR_THREADS="2") == 1
    assert not one.checkpoints, "one thread is what every run has that has not tried"
    (saved,) = two.checkpoints
    state = torch.load(io.BytesIO(saved.read_bytes()[32:]), weights_only=True)["state"]
    assert (state["step"], state["learner"]["tuning"]["threads"]) == (0, 2)


@pytest.mark.usefixtures("without_export")
def test_a_resumed_run_has_the_threads_of_its_first_start(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(epochs=2)
    assert job.run(LEHR_THREADS="2") == 0
    assert job.summary.threads == 2
    job.checkpoints[-1].unlink()
    assert job.run(LEHR_THREADS="1") == 0
    assert "resumed at epoch 2" in capsys.readouterr().out
    assert job.summary.threads == 2


@pytest.mark.slow  # it compiles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in what the compiler imports
@pytest.mark.usefixtures("without_export")
def test_a_compiled_run_learns_what_an_eager_one_does_and_resumes_with_the_same_bits(
    make_job: MakeJob,
) -> None:
    model = 'name = "mlp"\nhidden = [16]\ndropout = 0.0\n'
    eager, job = (make_job(model=model, epochs=2, compile=one) for one in ("off", "on"))
    assert eager.run() == job.run() == 0
    whole = job.summary
    for one, other in zip(eager.summary.epochs, whole.epochs, strict=True):
        assert other.loss == pytest.approx(one.loss, abs=1e-4)
    job.checkpoints[-1].unlink()
    raw = job.checkpoints[-1].read_bytes()[32:]
    saved = torch.load(io.BytesIO(raw), weights_only=True)["state"]["learner"]
    assert saved["tuning"]["compile_mode"] == "default"
    assert job.run() == 0
    assert job.summary.weights_sha256 == whole.weights_sha256


def test_cuda_graphs_are_not_tried_where_gradients_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_wait", lambda device: None)
    machine = Machine(lambda mode: FASTER[mode])
    seen, _ = found(machine, device=GPU, compiling="auto", adds_up=True)
    assert seen.compile_mode == "default"
    assert "reduce-overhead" not in machine.asked


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in what the compiler imports
@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [({}, 32, "reduce-overhead"), ({}, 16, "default"), ({"accumulate_steps": 2}, 32, "default")],
)
def test_a_checkpoint_with_cuda_graphs_goes_on_without_where_gradients_add_up(
    settings: dict[str, Any], rows: int, expected: str
) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    learner = Learner(model, Training(**settings), class_counts=[1, 1], total=1, device=CPU)
    learner.micro_batch_rows = rows
    learner.run_as(Tuning(1, "reduce-overhead"))
    assert learner.tuning == Tuning(1, expected)  # type: ignore[arg-type]


def test_a_lack_of_memory_while_compiling_is_no_fault_of_the_recipe() -> None:
    def make_pass(mode: str) -> Callable[[], None]:
        def one_pass() -> None:
            if mode:
                raise torch.OutOfMemoryError("no memory")

        return one_pass

    with pytest.raises(torch.OutOfMemoryError):
        tune(
            make_pass,
            flops_per_update=1.0,
            updates=1,
            compiling="on",
            device=CPU,
            environ={},
            log=print,
        )
