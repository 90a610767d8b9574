"""The other side of sandbox.py, a program of the standard library alone: it limits itself, then becomes what it was sent.

A request as JSON on standard input; on standard output records as JSON, a line each, which begins with the request's mark;
on standard error what the program prints.
The first process goes into namespaces of its own; a second, which cannot see out of them, runs the program.
"""

import ctypes
import json
import math
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

NOBODY = 65_534
NEW_USER, NEW_PID, NEW_NETWORK, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000  # linux/sched.h
PARENT_DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38  # linux/prctl.h
LONGEST_REASON = 200  # characters


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    records = os.dup(1)
    os.dup2(2, 1)
    _report(records, request, alone=_go_apart())
    child = os.fork()
    if child == 0:
        _become_the_program(request, records)
    _, status = os.waitpid(child, 0)
    _report(records, request, verdict="error", reason=_without_a_word(status))


def _report(records: int, request: dict[str, Any], **said: object) -> None:
    os.write(records, f"\n{request['mark']}{json.dumps(said)}\n".encode())


def _without_a_word(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return "it ended before its last line"


def _go_apart() -> bool:
    """No network and no processes but its own, where the system allows that; nobody, where we are root."""
    root = os.geteuid() == 0
    if sys.platform != "linux":
        if root:
            _become_nobody()
        return False
    libc = ctypes.CDLL(None)
    apart = root and libc.unshare(NEW_PID | NEW_NETWORK | NEW_IPC) == 0
    if root:
        _become_nobody()
    # a user namespace also takes root's privileges over the system away
    rest = NEW_USER if apart else NEW_USER | NEW_PID | NEW_NETWORK | NEW_IPC
    apart = libc.unshare(rest) == 0 or apart
    _bind(libc)
    return bool(apart)


def _become_nobody() -> None:
    """Where nobody could not even read Python's own library, in name alone: a limit of processes does not hold for root."""
    with suppress(OSError):  # a container's root may not be allowed to; its limits hold as they are
        os.chmod("..", 0o711)
        os.chown(".", NOBODY, NOBODY)
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        readable = os.access(os.__file__, os.R_OK, effective_ids=True)
        os.seteuid(0)
        if readable:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        else:
            os.chown(".", 0, 0)
            os.setreuid(NOBODY, 0)


def _bind(libc: Any) -> None:
    """It ends with its parent, and gains no privileges by what it executes."""
    libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _become_the_program(request: dict[str, Any], records: int) -> NoReturn:
    if sys.platform == "linux":
        _bind(ctypes.CDLL(None))
    _limit(request)
    verdict, reason = _outcome_of(request["program"], request["memory_bytes"])
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    with suppress(OSError):
        _report(records, request, verdict=verdict, reason=reason)
    os._exit(0)


def _limit(request: dict[str, Any]) -> None:
    seconds = math.ceil(request["seconds"]) + 1
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: request["output_bytes"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 0,
    }
    if sys.platform == "linux":  # others refuse a limit below what is mapped already
        limits[resource.RLIMIT_AS] = request["memory_bytes"]
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def _outcome_of(program: str, memory_bytes: int) -> tuple[str, str]:
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    except AssertionError as error:
        return "failed", _reason(error)
    except SystemExit as error:
        return "error", f"{_reason(error)}: it left before its last line"
    except MemoryError as error:
        return "error", f"{_reason(error)}: it takes more than {memory_bytes // 1_000_000} MB"
    except BaseException as error:
        return "error", _reason(error)
    return "passed", ""


def _reason(error: BaseException) -> str:
    """ "AssertionError on line 3: not equal" """
    lines = [
        number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == "<program>"
    ]
    where = f" on line {lines[-1]}" if lines else ""
    try:
        said = str(error)
    except Exception:  # the program's own exception may fail to say what it is
        said = ""
    return f"{type(error).__name__}{where}{': ' if said else ''}{said}"[:LONGEST_REASON]


if __name__ == "__main__":
    main()
