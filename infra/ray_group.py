"""The process group of several training workers, with a time limit: gloo, and NCCL for what lies on GPUs.

Imports torch, so only they import it.
"""

from dataclasses import dataclass
from typing import Any

from ray.train.backend import Backend
from ray.train.torch.config import TorchConfig, _TorchBackend

from infra.ray_session import prepare_worker


class GroupBackend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: "GroupConfig") -> None:
        worker_group.execute(prepare_worker, backend_config.log)
        super().on_start(worker_group, backend_config)


@dataclass
class GroupConfig(TorchConfig):  # type: ignore[misc]
    log: str = ""

    @property
    def backend_cls(self) -> type[Backend]:
        return GroupBackend
