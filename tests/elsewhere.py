"""A second device of torch whose memory is the CPU's: what would break on a GPU breaks here, and no GPU is needed.

`install()` makes it known to torch for as long as the process lives. A tensor of it carries one of the CPU, on which every
operation is done; where one meets a tensor that is on the CPU itself, the operation is refused as CUDA refuses it. Kernels,
rounding, streams and memory are the CPU's: of those it says nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from models import catalogue
from tasks.training import machine

NAME = "elsewhere"
COPIES = ("aten::copy_", "aten::_to_copy")  # may have either device on either side
BY_INDEX = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index")  # take indices from the CPU
MATH_ATTENTION = 0  # of torch's kernels the one that is written in operations of its own
IN_BF16 = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "scaled_dot_product_attention")
_kept: list[torch.library.Library] = []


class Elsewhere(Tensor):
    """A tensor of the device; `inner` is what it carries."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        with torch.inference_mode(inner.is_inference()):  # a view is what its base is
            made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
                device=torch.device(NAME, 0),
            )  # fmt: skip
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    # that there are these two makes a module keep a parameter that it moves: others hold it too
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, Tensor], *_: Any) -> "Elsewhere":
        return Elsewhere(inner["inner"])

    @property  # what a tensor carries is the tensor: `weight.data = merged` has to change it too
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        Tensor.data.__set__(self, value)
        self.inner = value.inner  # type: ignore[attr-defined]

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The operation on what the tensors carry; its results are on the device that was asked for, else on this one."""
    name, is_composite, changes_shape = _kind(func)
    if name == "aten::_fused_sdp_choice":
        return MATH_ATTENTION
    if name == "aten::_thnn_fused_lstm_cell":
        return _lstm_cell(*args)
    if is_composite:
        return func.decompose(*args, **kwargs)  # in inference mode nobody has taken it apart before
    asked = kwargs.get("device")
    stays = asked is None or torch.device(asked).type == NAME
    _refuse_two_devices(name, args, kwargs)
    carriers: dict[int, Elsewhere] = {}
    inner_args = [_carried(each, carriers) for each in args]
    inner_kwargs = {key: _carried(each, carriers) for key, each in kwargs.items()}
    result = func(*inner_args, **({**inner_kwargs, "device": "cpu"} if asked is not None and stays else inner_kwargs))
    if changes_shape:  # transpose_: what carries the tensor has its shape
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
    if name == "aten::copy_" and not isinstance(args[0], Elsewhere):
        return args[0]
    return _carrying(result, carriers) if stays else result


@cache
def _kind(func: Any) -> tuple[str, bool, bool]:
    is_composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
    return func._schema.name, is_composite, torch.Tag.inplace_view in func.tags


def _carried(value: Any, carriers: dict[int, Elsewhere]) -> Any:
    if isinstance(value, Elsewhere):
        carriers[id(value.inner)] = value
        return value.inner
    return [_carried(each, carriers) for each in value] if isinstance(value, list | tuple) else value


def _carrying(result: Any, carriers: Mapping[int, Elsewhere]) -> Any:
    """A tensor that was changed in place is the one that was handed in."""
    if isinstance(result, Tensor):
        return carriers[id(result)] if id(result) in carriers else Elsewhere(result)
    return type(result)(_carrying(each, carriers) for each in result) if isinstance(result, list | tuple) else result


def _refuse_two_devices(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if name in COPIES:
        return
    read = [args[0], *args[2:]] if name in BY_INDEX and isinstance(args[0], Elsewhere) else [*args, *kwargs.values()]
    for value in read:
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, Tensor) and not isinstance(each, Elsewhere) and each.dim():
                raise RuntimeError(f"Expected all tensors to be on the same device, but {name} found {NAME}:0 and cpu")
            if isinstance(each, torch.Generator):
                raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{each.device}'")


def _lstm_cell(
    inputs: Tensor, hidden: Tensor, cell: Tensor, inputs_bias: Tensor | None = None, hidden_bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of an LSTM, which a GPU does in one kernel and a CPU in many."""
    gates = inputs + hidden
    if inputs_bias is not None and hidden_bias is not None:
        gates = gates + inputs_bias + hidden_bias
    let_in, forget, candidate, let_out = gates.chunk(4, 1)
    now = forget.sigmoid() * cell + let_in.sigmoid() * candidate.tanh()
    return let_out.sigmoid() * now.tanh(), now, gates


class _Module:
    """What torch asks of a device beside its operations."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        del seed  # torch has seeded the CPU's generator, from which this device draws too

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def pytest_configure() -> None:
    """`pytest -p tests.elsewhere`: what takes a GPU where there is one takes this device."""
    install()
    machine.device_of = lambda runtime: "cpu" if runtime.device == "cpu" else NAME
    catalogue.found_device = lambda: NAME


def install() -> None:
    """Once in a process, and for good."""
    _setup_privateuseone_for_python_backend(rename=NAME, backend_module=_Module())
    # operations that make a tensor from nothing; torch.tensor fills what it has made where no subclass is asked
    everything, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")
    aten.impl("copy_", lambda *args: _run(torch.ops.aten.copy_.default, args, {}), "PrivateUse1")
    aten.impl("_thnn_fused_lstm_cell", _lstm_cell, "AutogradPrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in IN_BF16:
        aten.impl(name, partial(_in_bf16, getattr(torch.ops.aten, name)), "AutocastPrivateUse1")
    _kept.extend((everything, aten))


def _in_bf16(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What autocast does on a GPU to matrix products."""
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        small = tree_map_only(Tensor, lambda each: each.to(torch.bfloat16) if each.is_floating_point() else each, args)
        return func(*small, **kwargs)
