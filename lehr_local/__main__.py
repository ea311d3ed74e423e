"""`python -m lehr_local up | down | status | serve | interrupt`: the local cloud from the command line.

Exit codes: 0 done (for `status`: it runs), 2 it could not be done, 3 `status` found nothing running.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lehr_local import control
from lehr_local.errors import LocalCloudError
from lehr_local.state_files import CloudInfo

DEFAULT_PORT = 4710
DEFAULT_HTTPS_PORT = 4743


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    arguments = _parser().parse_args(argv)
    try:
        code = _run(arguments)
    except LocalCloudError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _run(arguments: argparse.Namespace) -> int:
    state_dir: Path = arguments.state
    if arguments.command == "serve":
        from lehr_local.server import serve

        serve(
            state_dir,
            arguments.port,
            arguments.https_port,
            is_enforcing_iam=arguments.enforce_iam,
            is_kept=arguments.keep,
        )
        return 0
    if arguments.command == "up":
        chosen = {"--enforce-iam": arguments.enforce_iam, "--keep": arguments.keep}
        options = [option for option, is_chosen in chosen.items() if is_chosen]
        _print_info(control.up(state_dir, arguments.port, arguments.https_port, options), arguments.json)
        return 0
    if arguments.command == "down":
        was_running = control.down(state_dir)
        if arguments.json:
            print(json.dumps({"was_running": was_running}))
        else:
            print("The local cloud has stopped." if was_running else "No local cloud was running.")
        return 0
    if arguments.command == "interrupt":
        answer = control.interrupt(state_dir, arguments.job, arguments.gone_for)
        print(
            json.dumps(answer) if arguments.json else f"The instance of {arguments.job} is being taken away."
        )
        return 0
    info = control.status(state_dir)
    if info is None:
        print(json.dumps({"running": False}) if arguments.json else "No local cloud is running.")
        return 3
    _print_info(info, arguments.json)
    return 0


def _print_info(info: CloudInfo, is_json: bool) -> None:
    if is_json:
        print(json.dumps({"running": True, **asdict(info)}))
        return
    print(f"The local cloud runs at {info.endpoint_url} (process {info.pid}, log {info.log}).")
    print(f"  export AWS_ENDPOINT_URL={info.endpoint_url} AWS_DEFAULT_REGION={info.region}")
    print("  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local-secret")
    print("What it holds lives in memory and is gone after `down`, unless it was started with --keep.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lehr_local", description="A cloud for one laptop.")
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "up": "start in the background and wait until it is ready; an empty account unless with --keep",
        "serve": "run in the foreground",
        "down": "stop it; what it holds is lost unless it was started with --keep",
        "status": "say whether it runs, and where",
        "interrupt": "take the spot instance of a running job away, as AWS would",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--state", type=Path, default=Path(".lehr"), help="its folder (default: .lehr)")
        if name in ("up", "serve"):
            command.add_argument(
                "--port", type=int, default=DEFAULT_PORT, help="AWS API (default: %(default)s; 0: any)"
            )
            command.add_argument(
                "--https-port",
                type=int,
                default=DEFAULT_HTTPS_PORT,
                help="HTTPS endpoints (default: %(default)s; 0: any)",
            )
            command.add_argument(
                "--keep", action="store_true", help="keep what it holds in its folder, and bring it back"
            )
            command.add_argument(
                "--enforce-iam",
                action="store_true",
                help="roles may do only what their policies allow, as on AWS",
            )
        if name == "interrupt":
            command.add_argument("job", help="name of a training job, name or id of a Batch job")
            command.add_argument(
                "--gone-for",
                type=float,
                default=1.0,
                metavar="SECONDS",
                help="until a training job gets another instance (default: %(default)s)",
            )
        if name != "serve":
            command.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    main()
