"""The process group of several training workers: gloo, with a time limit. Imports torch, so only they import it."""

from dataclasses import dataclass
from typing import Any

from ray.train.backend import Backend
from ray.train.torch.config import TorchConfig, _TorchBackend

from infra.ray_session import prepare_worker


class GlooBackend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: "GlooConfig") -> None:
        worker_group.execute(prepare_worker, backend_config.log)
        super().on_start(worker_group, backend_config)


@dataclass
class GlooConfig(TorchConfig):  # type: ignore[misc]
    log: str = ""

    @property
    def backend_cls(self) -> type[Backend]:
        return GlooBackend
