"""`lehr predict`: ask the champion over HTTPS, as any client would."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lehr.errors import UserError
from lehr_cli.batch import predict_batch
from lehr_cli.data import ProjectArgument
from lehr_cli.digit import draw
from lehr_cli.endpoint import JSON, WAV, Answer, ask, curl_line, predict_url, request_body
from lehr_cli.invocation import Invocation, command
from lehr_cli.rows import Row, test_row
from lehr_cli.target import STATE_DIR

InputOption = Annotated[
    Path | None, typer.Option("--input", help="A request as JSON.", dir_okay=False, metavar="FILE")
]
AudioOption = Annotated[
    Path | None, typer.Option("--audio", help="A WAV file.", dir_okay=False, metavar="FILE")
]
RowOption = Annotated[int | None, typer.Option(min=0, help="A row of the test data that was dropped.")]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch", help="All rows of a file, or of s3://<data bucket>/batches/PROJECT/…", metavar="FILE|S3"
    ),
]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", help="Where the result of --batch goes.", dir_okay=False, metavar="FILE"),
]
ImageOption = Annotated[
    Path | None, typer.Option("--image", help="A PNG or JPEG file.", dir_okay=False, metavar="FILE")
]
SaveOption = Annotated[
    Path | None,
    typer.Option("--save", help="Where the mask of --image goes, as PNG.", dir_okay=False, metavar="FILE"),
]
_BEST = 3
_IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@command
def predict(
    invocation: Invocation,
    project: ProjectArgument,
    file: InputOption = None,
    row: RowOption = None,
    audio: AudioOption = None,
    batch: BatchOption = None,
    to: ToOption = None,
    image: ImageOption = None,
    save: SaveOption = None,
) -> None:
    """Ask the champion of a project.

    Example: lehr predict mnist --row 7
    """
    if [file, row, audio, batch, image].count(None) != 4:
        raise UserError("give one of --input FILE, --row N, --image FILE, --audio FILE and --batch FILE")
    if save is not None and image is None:
        raise UserError("--save goes with --image")
    if batch is not None:
        predict_batch(invocation, project, batch, to)
        return
    if to is not None:
        raise UserError("--to goes with --batch")
    if row is not None:
        asked = test_row(invocation.stack, project, row)
        file = save_request(project, asked)
        show_row(invocation, asked)
    file = file or image or audio
    assert file is not None
    try:
        body = file.read_bytes()
    except OSError as fault:
        raise UserError(f"cannot be read: {fault.strerror}", place=str(file)) from fault
    content_type = media_type(image, body) if image else WAV if audio else JSON
    with invocation.out.waiting("asking the endpoint"):
        answers = ask(invocation.stack, project, body, content_type=content_type)
    for answer in answers:
        show_answer(invocation, answer)
    if answers:
        invocation.out.emit(
            {"event": "prediction", "round_trip_ms": round(answers[0].latency_ms, 1)}
            | dict(answers[0].document)
        )
    if save is not None:
        save_mask(invocation, answers, save)
    url = predict_url(invocation.stack, project)
    invocation.out.note(curl_line(invocation.target, url, file, content_type=content_type))


def media_type(path: Path, body: bytes) -> str:
    """Of an image, by its first bytes. Raises UserError for another file."""
    found = next((kind for start, kind in _IMAGES.items() if body.startswith(start)), None)
    if found is None:
        raise UserError("is neither a PNG nor a JPEG file", place=str(path))
    return found


def save_mask(invocation: Invocation, answers: list[Answer], path: Path) -> None:
    """Write the mask of the one image that was asked about. Raises UserError where the model gives none."""
    if not answers or not answers[0].mask:
        raise UserError("the model gives no mask", hint="leave --save out")
    try:
        path.write_bytes(answers[0].mask)
    except OSError as fault:
        raise UserError(f"cannot be written: {fault.strerror}", place=str(path)) from fault
    invocation.out.say(f"the mask is in {path}")


def save_request(project: str, row: Row, path: Path | None = None) -> Path:
    """Write the request for a row where a person can look at it, and send it again."""
    path = path or Path(STATE_DIR) / "requests" / f"{project}-row-{row.number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(request_body([row.cells], "instances") if row.cells else request_body([row.pixels]))
    return path


def show_row(invocation: Invocation, row: Row) -> None:
    """The image itself, so that the label can be judged by eye; or the cells."""
    if row.cells:
        shown = ", ".join(f"{name} {'missing' if cell is None else cell}" for name, cell in row.cells.items())
        invocation.out.say(shown)
        invocation.out.say(f"row {row.number} of {row.file}, where it is {row.label}", "dim")
        return
    has_colour = invocation.out.people.color_system is not None
    invocation.out.say(draw(row.pixels, has_colour=has_colour))
    invocation.out.say(f"row {row.number} of the test data, labelled {row.label}", "dim")


def show_answer(invocation: Invocation, answer: Answer) -> None:
    """Label, probability, what came next, which model, how long it took; or the value, or what was found."""
    if answer.objects is not None:
        show_objects(invocation, answer)
        return
    if answer.mask:
        show_mask(invocation, answer)
        return
    if answer.value is not None:
        invocation.out.say(
            Text.assemble(
                ("value ", "dim"),
                (f"{answer.value:.6g}", "bold green"),
                ("  model ", "dim"),
                answer.version,
                ("  latency ", "dim"),
                f"{answer.latency_ms:.1f} ms",
            )
        )
        return
    ranked = sorted(answer.probabilities.items(), key=lambda pair: pair[1], reverse=True)
    others = "  ".join(f"{label} {share:.4f}" for label, share in ranked[1:_BEST] if share >= 0.00005)
    invocation.out.say(
        Text.assemble(
            ("label ", "dim"),
            (answer.label, "bold green"),
            ("  probability ", "dim"),
            f"{answer.probability:.4f}",
            (f"  (then {others})" if others else "", "dim"),
            ("  model ", "dim"),
            answer.version,
            ("  latency ", "dim"),
            f"{answer.latency_ms:.1f} ms",
        )
    )


def show_mask(invocation: Invocation, answer: Answer) -> None:
    """The labels by how much of the image they have."""
    ranked = sorted(answer.shares.items(), key=lambda pair: pair[1], reverse=True)
    shares = "  ".join(f"{label} {share:.1%}" for label, share in ranked if share)
    invocation.out.say(
        Text.assemble(
            ("pixels ", "dim"),
            (shares, "bold green"),
            ("  mean probability ", "dim"),
            f"{answer.mean_probability:.4f}",
            ("  model ", "dim"),
            answer.version,
            ("  latency ", "dim"),
            f"{answer.latency_ms:.1f} ms",
        )
    )


def show_objects(invocation: Invocation, answer: Answer) -> None:
    """A line for each object with its place in pixels, then which model and how long."""
    objects = answer.objects or ()
    for one in objects:
        box = one["box"]
        invocation.out.say(
            Text.assemble(
                (f"{one['label']:<12}", "bold green"),
                f"{one['score']:.4f}",
                ("  left ", "dim"),
                f"{box['x']:.1f}",
                ("  top ", "dim"),
                f"{box['y']:.1f}",
                ("  width ", "dim"),
                f"{box['width']:.1f}",
                ("  height ", "dim"),
                f"{box['height']:.1f}",
            )
        )
    found = f"{len(objects)} object{'' if len(objects) == 1 else 's'}" if objects else "nothing found"
    invocation.out.say(
        Text.assemble(
            (found, "bold"),
            ("  model ", "dim"),
            answer.version,
            ("  latency ", "dim"),
            f"{answer.latency_ms:.1f} ms",
        )
    )
