"""Where a training had best run: a function, an instance of SageMaker, or one of Batch; and why.

Every machine is a start and a rate. Seconds of training are

    updates x overhead + 3 x 2 x multiply-adds x rows x epochs / rate

since the backward pass costs about twice the forward one, and a multiply-add is two operations. The rates are estimates
and good within a factor of three: that of a processor is worked out from this project's own figure (docs/log.md: 25,000
rows/s of the example's mlp in batches of 32 on one thread, so 0.5 ms of overhead and 25 billion operations a second),
halved for a vCPU, which is half a core; those of GPUs are a quarter of the vendor's peak in float32 (T4 8.1, A10G 31.2,
L4 30.3 TFLOPS). The starts are what users of SageMaker and Batch commonly report.

The recommended way is the cheapest of those that take no more than half as long again as the fastest; Batch, whose
subnets somebody has to make, has to save a dollar for it. A plan never overrides the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lehr.attempts import attempts_of
from lehr.contracts.data_rules import is_table
from lehr.contracts.recipe import RECIPE_FILE, Recipe
from lehr.contracts.recipe_tables import Backend, Model, Training
from lehr.contracts.sweep_rules import planned_points
from lehr.errors import UnknownPriceError
from lehr.function_types import DEFAULT_MEMORY_MB, STORAGE_MB, function_type
from lehr.model_size import ModelSize, size_of
from lehr.prices import PriceTable

MEMORY_MB_PER_VCPU = 1769
ONE_THREAD_BELOW_PARAMETERS = 1_000_000
VCPU_RATE, VCPU_OVERHEAD_S = 12.5e9, 1e-3
GPU_OVERHEAD_S = 0.5e-3
PATIENCE = 1.5
BATCH_SAVES_USD = 1.0
LONGEST_IN_A_FUNCTION_S = 6 * 3600
# Of Python, torch and ONNX Runtime in a function, beside data and model.
PROCESS_MB = 1000


@dataclass(frozen=True)
class Machine:
    """`start_s` passes until the first update, `billed_start_s` of it at the price of the machine."""

    backend: str
    name: str
    rate: float
    overhead_s: float
    start_s: float
    billed_start_s: float


@dataclass(frozen=True)
class Work:
    """A training: `rows` of `row_bytes` bytes, `epochs` times, in updates of `rows_per_update`."""

    rows: int
    row_bytes: int
    epochs: int
    rows_per_update: int
    size: ModelSize


@dataclass(frozen=True)
class Way:
    """One way to train. `obstacle` says why it cannot be taken; "" if it can."""

    backend: str
    machine: str
    start_s: float
    training_s: float
    usd: float
    obstacle: str = ""

    @property
    def seconds(self) -> float:
        return self.start_s + self.training_s


@dataclass(frozen=True)
class Plan:
    """The ways, the recommended one first, and why it is."""

    ways: list[Way]
    reason: str

    @property
    def best(self) -> Way:
        return self.ways[0]


def trials_of(recipe: Recipe) -> list[tuple[Training, Model]]:
    """[training] and [model] of every trial. Those of "tpe" are a stand-in: it chooses by what others gave."""
    return [recipe.at_point(point) for point in planned_points(recipe, place=RECIPE_FILE)]


def largest_size(recipe: Recipe, *, input_shape: Sequence[int]) -> ModelSize | None:
    """Of the largest model that a trial of this recipe builds; None of one that is not built in."""
    outputs = max(1, len(recipe.data.labels))  # a regression gives one value
    sizes = [
        size_of(model, input_shape=input_shape, classes=outputs, sample_rate=recipe.data.sample_rate)
        for _, model in trials_of(recipe)
    ]
    return max(filter(None, sizes), key=lambda size: size.multiply_adds, default=None)


def work_of(recipe: Recipe, size: ModelSize, *, rows: int, input_shape: Sequence[int]) -> Work:
    """The longest trial of a recipe on `rows` rows, of which a share is held out."""
    longest = max((training for training, _ in trials_of(recipe)), key=lambda settings: settings.epochs)
    return Work(
        rows=max(1, round(rows * (1 - recipe.data.validation_fraction))),
        row_bytes=math.prod(input_shape)
        * (4 if is_table(recipe.project.task) else 2 if recipe.data.sample_rate else 1),
        epochs=longest.epochs,
        rows_per_update=longest.batch_size * longest.accumulate_steps,
        size=size,
    )


def plan(work: Work, backend: Backend, prices: PriceTable, *, function_memory_mb: int = 0) -> Plan:
    """Compare the ways. `function_memory_mb` as for `attempts_of`: 0 where no stack is known."""
    memory_mb = function_memory_mb or backend.memory_mb or DEFAULT_MEMORY_MB
    ways = [
        way for machine in machines(memory_mb) if (way := _way(machine, work, prices, memory_mb)) is not None
    ]
    possible = [way for way in ways if not way.obstacle]
    fastest = min(possible, key=lambda way: way.seconds)
    near = [way for way in possible if way.seconds <= PATIENCE * fastest.seconds]
    best = min(
        near, key=lambda way: (way.usd + (BATCH_SAVES_USD if way.backend == "batch" else 0.0), way.seconds)
    )
    others = sorted((way for way in ways if way != best), key=lambda way: (bool(way.obstacle), way.seconds))
    return Plan([best, *others], _reason(best, others, fastest))


def machines(function_memory_mb: int) -> list[Machine]:
    vcpus = function_memory_mb / MEMORY_MB_PER_VCPU
    function = Machine(
        "lambda", function_type(function_memory_mb), vcpus * VCPU_RATE, VCPU_OVERHEAD_S, 15, 15
    )
    found = [function]
    for name, rate, overhead in (
        ("m5.xlarge", 4 * VCPU_RATE, VCPU_OVERHEAD_S),
        ("g4dn.xlarge", 2.0e12, GPU_OVERHEAD_S),
        ("g5.xlarge", 7.8e12, GPU_OVERHEAD_S),
        ("g6.xlarge", 7.5e12, GPU_OVERHEAD_S),
    ):
        found.append(Machine("sagemaker", f"ml.{name}", rate, overhead, 180, 90))
        if rate > 1e12:  # what the template's queues have
            found.append(Machine("batch", name, rate, overhead, 240, 180))
    return found


def _way(machine: Machine, work: Work, prices: PriceTable, memory_mb: int) -> Way | None:
    try:
        hour = prices.hour(machine.name)
    except UnknownPriceError:
        return None
    rate = machine.rate
    if rate < 1e12 and work.size.parameters < ONE_THREAD_BELOW_PARAMETERS:
        rate = min(rate, 2 * VCPU_RATE)  # the trainer gives a small model one thread, which is a core
    updates = work.epochs * math.ceil(work.rows / work.rows_per_update)
    operations = 6 * work.size.multiply_adds * work.rows * work.epochs
    seconds = updates * machine.overhead_s + operations / rate
    obstacle = _obstacle(work, seconds, memory_mb) if machine.backend == "lambda" else ""
    usd = hour * (machine.billed_start_s + seconds) / 3600
    return Way(machine.backend, machine.name, machine.start_s, seconds, round(usd, 4), obstacle)


def _obstacle(work: Work, seconds: float, memory_mb: int) -> str:
    data_mb = work.rows * work.row_bytes / 1e6
    # Weights, gradients, two moments of the optimiser, and a checkpoint of them all.
    needs_mb = PROCESS_MB + 2 * data_mb + 8 * 4 * work.size.parameters / 1e6
    if needs_mb > memory_mb:
        return f"needs about {needs_mb:,.0f} MB of memory, and the function has {memory_mb}"
    if data_mb > STORAGE_MB / 2:
        return f"{data_mb:,.0f} MB of data leave no room in its storage of {STORAGE_MB} MB"
    if seconds > LONGEST_IN_A_FUNCTION_S:
        return f"takes about {spoken(seconds)}, more than {LONGEST_IN_A_FUNCTION_S // 3600} h of slices"
    return ""


def _reason(best: Way, others: Sequence[Way], fastest: Way) -> str:
    """One or two sentences."""
    done = f"about {spoken(best.seconds)} and {best.usd:.2g} USD"
    function = next((way for way in others if way.backend == "lambda"), None)
    if best.backend == "lambda":
        instance = min((way for way in others if not way.obstacle), key=lambda way: way.seconds)
        return (
            f"The model is small enough for a function: {done}. The start of an instance alone takes about "
            f"{spoken(instance.start_s)}, and {instance.machine} would need {spoken(instance.seconds)} in all."
        )
    text = f"{best.machine} trains it in {done}"
    if best != fastest:
        text += f", not much longer than {fastest.machine} ({spoken(fastest.seconds)}, {fastest.usd:.2g} USD)"
    if function is not None:
        why = function.obstacle or f"would take about {spoken(function.seconds)} for {function.usd:.2g} USD"
        text += f". A function {why}."
    return text


def spoken(seconds: float) -> str:
    """
    >>> spoken(42.4), spoken(400), spoken(9000)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def chosen(backend: Backend) -> list[str]:
    """What the recipe itself says, as backend and machine: its attempts without repetition."""
    return list(
        dict.fromkeys(f"{attempt.backend} {attempt.instance_types[0]}" for attempt in attempts_of(backend))
    )
