"""What operations on the meta device return, kept by the shapes of what they are given.

PyTorch computes most results on the meta device in Python, half a millisecond for one elementwise operation. The layers
of a network ask the same again and again: the second answer is an empty tensor of the shape of the first one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

Key: TypeAlias = "tuple[Any, ...]"
_Shape: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], torch.dtype] | None"
"""Size, stride and type of one result; None where an operation returns None in its place."""

_PLAIN: Final = frozenset(
    {int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format}
)
"""Types of arguments that are their own key."""


class MetaResults:
    """Calls operations on meta tensors; what made only new tensors is not computed a second time.

    Holds a few hundred bytes for each operation with other shapes: some hundred of them for a network of any depth.
    """

    def __init__(self) -> None:
        self._shapes: dict[Key, tuple[bool, tuple[_Shape, ...]]] = {}
        """Whether the result is one tensor rather than several, and the shape of each."""
        self._makes_new: dict[Any, bool] = {}

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, bool]:
        """What the operation returns, and whether it is known to share no storage with what it was given."""
        if (key := self._key_of(func, args, kwargs)) is None:
            return func(*args, **kwargs), False
        if (known := self._shapes.get(key)) is not None:
            is_one, shapes = known
            made = [None if one is None else _empty(one) for one in shapes]
            return (made[0] if is_one else tuple(made)), True
        result = func(*args, **kwargs)
        self._keep(key, result)
        return result, False

    def _key_of(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Key | None:
        """None where the operation changes or returns what it is given, or takes what has no key."""
        if (makes_new := self._makes_new.get(func)) is None:
            makes_new = self._makes_new[func] = _makes_new_tensors(func)
        if not makes_new:
            return None
        try:
            return (func, *map(_key, args), *((name, _key(kwargs[name])) for name in sorted(kwargs)))
        except _NoKeyError:
            return None

    def _keep(self, key: Key, result: Any) -> None:
        tensors = list(result) if isinstance(result, tuple | list) else [result]
        if not all(one is None or (isinstance(one, Tensor) and one.is_meta) for one in tensors):
            return
        shapes = tuple(None if one is None else (tuple(one.shape), one.stride(), one.dtype) for one in tensors)
        # A tensor that is a part of a larger storage keeps all of it alive, which an empty one of its shape does not.
        for one, shape in zip(tensors, shapes, strict=True):
            if shape is not None and _empty(shape).untyped_storage().nbytes() != one.untyped_storage().nbytes():
                return
        storages = {one.untyped_storage()._cdata for one in tensors if one is not None}
        if len(storages) == sum(one is not None for one in tensors):
            self._shapes[key] = (isinstance(result, Tensor), shapes)


class _NoKeyError(Exception):
    """An argument of a type that is not known."""


def _key(argument: Any) -> Any:
    """The type stands beside the value, as 1, 1.0 and True are equal and give results of different types."""
    if isinstance(argument, Tensor):
        return argument.shape, argument.stride(), argument.dtype, argument.device
    if type(argument) in _PLAIN:
        return type(argument), argument
    if isinstance(argument, list | tuple):
        return tuple(map(_key, argument))
    raise _NoKeyError


def _makes_new_tensors(func: Any) -> bool:
    """Whether the schema says that no result shares memory with an argument, and that none is written to."""
    schema: Any = getattr(func, "_schema", None)
    if schema is None:
        return False
    return all(one.alias_info is None for one in (*schema.arguments, *schema.returns))


def _empty(shape: tuple[tuple[int, ...], tuple[int, ...], torch.dtype]) -> Tensor:
    size, stride, dtype = shape
    return torch.empty_strided(size, stride, dtype=dtype, device="meta")
