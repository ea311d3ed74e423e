"""The last process standing: kills what the local cloud started once the local cloud is gone.

A process that dies by SIGKILL cannot tidy up, so somebody else must. This file runs as a process of its own
(`python -I -S reaper.py`) that holds the read end of a pipe. Lines `+PID` and `-PID` tell it which sessions
are alive; the end of the file tells it that the cloud has ended, in whatever way, and it kills them all.

PR_SET_PDEATHSIG would not do: it fires when the *thread* that forked ends, and it is not inherited by
grandchildren, which is what the Python runtime under the Lambda emulator is.

Only the standard library, and few modules of it: this starts with every local cloud.
"""

import os
import signal
import sys
import time

_SWEEPS = 50
_BETWEEN_SWEEPS_S = 0.02


def _process_table() -> "dict[int, tuple[int, int, str]] | None":
    """Map pid to (parent, session, state); None where there is no /proc."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    table = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue  # it ended while we looked
        # The name, in parentheses, may itself hold blanks and parentheses.
        state, parent, _group, session = stat[stat.rindex(b")") + 2 :].split()[:4]
        table[pid] = (int(parent), int(session), state.decode())
    return table


def members(leaders: "set[int]") -> "set[int] | None":
    """Living processes that belong to the sessions of `leaders` or descend from them; None without /proc.

    A descendant may have moved to another process group, or even opened a session of its own.
    """
    table = _process_table()
    if table is None:
        return None
    found = {pid for pid, (_, session, _) in table.items() if session in leaders or pid in leaders}
    grew = True
    while grew:
        children = {pid for pid, (parent, _, _) in table.items() if parent in found} - found
        found |= children
        grew = bool(children)
    return {pid for pid in found if table[pid][2] not in "ZX"}


def signal_sessions(leaders: "set[int]", signum: int) -> bool:
    """Send `signum` to every process of the sessions of `leaders`; True if there was one to send it to."""
    found = members(leaders)
    send = os.kill if found is not None else os.killpg
    reached = False
    for pid in leaders if found is None else found:
        try:
            send(pid, signum)
            reached = True
        except (ProcessLookupError, PermissionError):
            continue
    return reached


def kill_sessions(leaders: "set[int]") -> None:
    """SIGKILL the sessions of `leaders`, again until none is left: a process may fork while we look."""
    for _ in range(_SWEEPS):
        if not signal_sessions(leaders, signal.SIGKILL):
            return
        time.sleep(_BETWEEN_SWEEPS_S)


def main() -> None:
    """Follow the registrations on standard input until it ends, then kill what is still registered."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    print("ready", flush=True)
    leaders: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            leaders.add(pid)
        else:
            leaders.discard(pid)
    kill_sessions(leaders)


if __name__ == "__main__":
    main()
