"""`python -m lehr_local up | down | status | serve`: the local cloud from the command line.

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

        serve(state_dir, arguments.port, arguments.https_port)
        return 0
    if arguments.command == "up":
        _print_info(control.up(state_dir, arguments.port, arguments.https_port), arguments.json)
        return 0
    if arguments.command == "down":
        was_running = control.down(state_dir)
        if arguments.json:
            print(json.dumps({"was_running": was_running}))
        else:
            print("The local cloud has stopped." if was_running else "No local cloud was running.")
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
    print("What it holds lives in memory and is gone after `down`.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lehr_local", description="A cloud for one laptop. It keeps its state in memory only."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "up": "start in the background and wait until it is ready; an empty account each time",
        "serve": "run in the foreground",
        "down": "stop it; everything it holds is lost",
        "status": "say whether it runs, and where",
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
        if name != "serve":
            command.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    main()
