"""The server that Prefect starts for one command where none runs; here it sleeps between requests.

Prefect's own takes 1.3 hundredths of a core with nothing to do, which a training whose threads run in lockstep feels in full:
four times a second it looks into an empty queue, ten times it listens for a cancelled task, and ten times it asks whether it
shall end. This one takes 0.3 hundredths.

    python -m infra.temporary_server PORT
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

from infra.processes import may_interrupt

# between looks for background tasks: those are for late and cancelled runs of deployments, which this server has not
REST = timedelta(seconds=5)


def use() -> None:
    """From now on this process starts this server where Prefect would start its own; before the first client is made."""
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer._run_uvicorn_command = _start  # type: ignore[method-assign, assignment]


def _start(server: Any) -> subprocess.Popen[Any]:
    """As prefect.server.api.server does it, by this module."""
    from prefect.settings import get_current_settings

    environment = {
        **os.environ,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        **get_current_settings().to_environment_variables(exclude_unset=True),
    }
    return subprocess.Popen([sys.executable, "-m", "infra.temporary_server", str(server.port)], env=environment)


def main(port: int) -> None:
    may_interrupt(False)
    import prefect.server.api.background_workers as background
    import uvicorn
    from docket import Worker
    from uvicorn.config import STARTUP_FAILURE

    class RestingWorker(Worker):
        async def _cancellation_listener(self) -> None:
            """Nobody cancels a task of this server; only its end is waited for."""
            if self._processing_session is not None:
                self._processing_session.cancellation_ready.set()
                await self._processing_session.stopping.wait()

    class RestingServer(uvicorn.Server):
        _wake: Callable[[], object] | None = None

        async def main_loop(self) -> None:
            """One tick a second where uvicorn has ten; asked to end, it does so at once."""
            asked, seconds = asyncio.Event(), 0
            self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, asked.set)
            while not await self.on_tick(10 * seconds):
                with suppress(TimeoutError):
                    await asyncio.wait_for(asked.wait(), timeout=1)
                seconds = (seconds + 1) % 86_400

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            if self._wake is not None:
                self._wake()

    resting = partial(RestingWorker, minimum_check_interval=REST, scheduling_resolution=REST)
    background.Worker = resting  # type: ignore[assignment, attr-defined]
    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )
    server = RestingServer(config)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)  # Prefect then takes another port


if __name__ == "__main__":
    main(int(sys.argv[1]))
