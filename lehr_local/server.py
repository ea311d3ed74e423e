"""The local cloud itself: one process, in the foreground, until it is told to stop.

This is the composition root. Parts are imported here and nowhere else, and late: moto and its services take
most of a second, which a command that only asks for the status should not wait for.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from lehr_local import settings as local
from lehr_local.authority import Authority, NoAuthority
from lehr_local.errors import LocalCloudError
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings
from lehr_local.state_files import CloudInfo, StateFiles, process_started

logger = logging.getLogger(__name__)

LOOK_AROUND_S = 2.0
_LEAKS = ("AWS_", "MOTO_", "PYTHON", "BOTO")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def serve(
    state_dir: Path,
    port: int,
    https_port: int,
    *,
    is_enforcing_iam: bool = False,
    is_kept: bool = False,
) -> None:
    """Run a local cloud until SIGTERM or SIGINT; port 0 takes any free one.

    With `is_enforcing_iam` a role may do only what its policies allow; with `is_kept` the state is brought back
    and kept in `state_dir`.

    Raises LocalCloudError if another cloud runs in `state_dir`, if a port is taken, or if this machine
    lacks something that is needed.
    """
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    files = StateFiles(state_dir.resolve())
    with contextlib.ExitStack() as closing:
        closing.enter_context(files.cloud_lock())
        files.remove_info()
        listener = closing.enter_context(listen(port, "--port"))
        https_listener = closing.enter_context(listen(https_port, "--https-port"))
        settings = LocalSettings(
            state_dir=files.state_dir,
            port=listener.getsockname()[1],
            https_port=https_listener.getsockname()[1],
            authority=_authority(is_enforcing_iam),
        )
        clean_environment(settings)
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        for chatty in ("werkzeug", "botocore", "boto3", "urllib3", "moto", "samtranslator"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        compose(settings, listener, https_listener, closing, is_kept=is_kept)
        files.write_info(
            CloudInfo(
                pid=os.getpid(),
                process_started=process_started(os.getpid()) or "",
                started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                endpoint_url=settings.endpoint_url,
                port=settings.port,
                https_port=settings.https_port,
                ca_file=str(settings.ca_file),
                account_id=settings.account_id,
                region=settings.region,
                log=str(files.log_file),
            )
        )
        closing.callback(files.remove_info)
        logger.info("ready at %s", settings.endpoint_url)
        while not stop.wait(LOOK_AROUND_S):
            if not files.is_there():
                logger.warning(
                    "the folder %s is gone, and with it the way to stop this cloud", files.state_dir
                )
                break
        logger.info("stopping")


def compose(
    settings: LocalSettings,
    listener: socket.socket,
    https_listener: socket.socket,
    closing: contextlib.ExitStack,
    *,
    is_kept: bool = False,
) -> None:
    """Install every part and start to serve; what must be closed is left with `closing`, last one first."""
    supervisor = Supervisor()
    closing.callback(supervisor.close)
    server = _make_server(listener, settings.authority)
    closing.callback(server.server_close)

    from lehr_local import lambda_functions

    runtime = lambda_functions.install(settings, supervisor)

    from lehr_local import (
        batch_backend,
        cloudformation,
        event_delivery,
        model_packages,
        object_listing,
        signing_keys,
        step_functions,
        training_jobs,
    )
    from lehr_local.control_requests import ControlRequests
    from lehr_local.https_front import HttpsFront
    from lehr_local.interruptions import interruption

    object_listing.install()
    model_packages.install()
    signing_keys.install()
    delivery = event_delivery.install(settings, runtime)
    cloudformation.install(settings)
    step_functions.install(settings)
    jobs = training_jobs.install(settings, supervisor)
    batch = batch_backend.install(settings, supervisor)
    server.app = ControlRequests(server.app, {"interrupt": interruption(jobs, batch)})
    if is_kept:
        from lehr_local.snapshots import Snapshots

        snapshots = Snapshots(settings)
        snapshots.restore()
        # The last snapshot is taken when nothing can change any more.
        closing.callback(snapshots.close)
        snapshots.start()
    threading.Thread(target=server.serve_forever, name="aws-api", daemon=True).start()
    # A job that is stopped may still write its checkpoint: the API goes last.
    closing.callback(server.shutdown)
    closing.callback(runtime.close)
    closing.callback(delivery.close)
    closing.callback(jobs.close)
    closing.callback(batch.close)
    front = HttpsFront(settings, runtime.invoke)
    front.start(https_listener)
    closing.callback(front.close)


def listen(port: int, option: str) -> socket.socket:
    """A socket that listens on the loopback interface. Raises LocalCloudError if the port is taken."""
    if not 0 <= port <= 65535:
        raise LocalCloudError(f"There is no port {port}.", f"Choose another one with {option}.")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            what = f"Port {port} is taken by another program."
        else:
            what = f"Port {port} cannot be used ({error.strerror})."
        raise LocalCloudError(what, f"Choose another one with {option}.") from error
    return listener


def clean_environment(settings: LocalSettings) -> None:
    """Forget what the caller's shell says about AWS, Python and proxies, and say what holds here."""
    for name in list(os.environ):
        if name.startswith(_LEAKS) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID=local.ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY=local.SECRET_ACCESS_KEY,
        AWS_DEFAULT_REGION=settings.region,
        AWS_REGION=settings.region,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        MOTO_ACCOUNT_ID=settings.account_id,
        # moto's Step Functions call every service at this port of localhost.
        MOTO_PORT=str(settings.port),
    )


def _authority(is_enforcing_iam: bool) -> Authority:
    if not is_enforcing_iam:
        return NoAuthority()
    from lehr_local.shield.shield import Shield

    return Shield(local.ACCOUNT_ID, local.REGION)


def _make_server(listener: socket.socket, authority: Authority | None = None) -> Any:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    # Given a socket, because werkzeug ends the process when it cannot bind one itself.
    return make_server(
        "127.0.0.1",
        listener.getsockname()[1],
        (authority or NoAuthority()).guarded(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=listener.fileno(),
    )
