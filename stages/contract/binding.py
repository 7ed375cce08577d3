"""Stages as things that can be bound into a graph: the decorator, the stage, and the step.

`@stage` turns a function into a `Stage`; `stage.bind(name, recipe, *inputs)` makes a `Step`, one inert node of the
graph. `bind` checks arity and kinds at once, so that a wrong pipeline fails where it is written.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import UnstableValueError, canonical_form, fingerprint
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.contract.context import StageContext
from stages.contract.fork import Fork
from stages.contract.recipe import Recipe
from stages.user_code.digest import StageCode, code_of
from stages.user_code.files import USER_FILE_PREFIX
from stages.user_code.loading import installed

MadeT_co = TypeVar("MadeT_co", bound=Artifact, covariant=True)
Bound: TypeAlias = "Step[Any] | Mapping[str, Step[Any]] | Sequence[Step[Any]] | None"


class BindError(TypeError):
    """A step does not fit its stage; the message names the step, the input and what was expected."""


@dataclass(frozen=True)
class InputSlot:
    """One artifact parameter of a stage function."""

    name: str
    kinds: tuple[type[Artifact], ...]
    shape: typing.Literal["one", "mapping", "sequence"]
    is_optional: bool = False
    """Annotated `| None`: it may be bound to None, or left out at the end, and then is no edge."""
    is_conduct: bool = False
    """Declared in `@stage(conduct_inputs=...)`: it takes no part in identity."""

    def expected(self) -> str:
        kinds = " or ".join(kind.kind for kind in self.kinds)
        return {"one": kinds, "mapping": f"a dictionary of {kinds}", "sequence": f"a list of {kinds}"}[self.shape]


@dataclass(frozen=True)
class Stage(Generic[MadeT_co]):
    """A named, numbered function: recipe and artifacts in, one artifact out. May be killed and run again."""

    function: Callable[..., None]
    number: int
    recipe_type: type[Recipe]
    makes: type[MadeT_co]
    slots: tuple[InputSlot, ...]
    accepts: tuple[int, ...] = ()
    phases: tuple[str, ...] | None = None
    """Names of the phases that it may spread parts in, for which a site may give resources; None: not declared."""
    part_by_part: str = ""
    """Name of the input of which each part is worked on alone, into the part of the same name; "" for another stage."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def import_path(self) -> str:
        """`module:function`, by which another process finds this stage."""
        return f"{self.function.__module__}:{self.name}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Travel by name; whole, if it is of a user's file that other processes have no way to import."""
        module = self.function.__module__
        if module.startswith(USER_FILE_PREFIX) and installed(module) is None:
            declared = (self.accepts, self.phases, self.part_by_part)
            return Stage, (self.function, self.number, self.recipe_type, self.makes, self.slots, *declared)
        return load_stage, (self.import_path,)

    def __call__(self, recipe: Recipe, *artifacts: Any, ctx: StageContext) -> None:
        self.function(recipe, *artifacts, ctx=ctx)

    @property
    def code(self) -> StageCode | None:
        """The code that takes part in identity, of a stage of a user's own file; None for any other stage."""
        return code_of(self.function)

    def fingerprint(
        self,
        recipe: Recipe,
        inputs: Mapping[str, str],
        number: int | None = None,
        *,
        all_inputs: bool = False,
        fork: Fork | None = None,
    ) -> str:
        """The name of what this stage makes from a recipe and the fingerprints of its inputs, 64 hex digits.

        `number` is an older number of the stage, to find what it was named then. With `all_inputs`, inputs that are
        conduct take part, as they did before there were any. `fork` is the checkpoint that a training begins from.
        """
        code, conduct = self.code, () if all_inputs else self.conduct_edges(inputs)
        identity = {name: made for name, made in inputs.items() if name not in conduct}
        return fingerprint(
            self.name,
            number or self.number,
            recipe,
            identity,
            code=code.identity if code else None,
            fork=fork.identity if fork else None,
        )

    def earlier(self, recipe: Recipe, inputs: Mapping[str, str], earlier: Mapping[str, Sequence[str]]) -> list[str]:
        """Fingerprints of what this stage may have made of the same recipe before its inputs grew, the newest first.

        `earlier` has for each input the fingerprints of what it extends, itself or through what it was made of. An
        artifact that extends another has that one, and those behind it; what is made of it, what was made of those.
        """
        extended = inputs.get(EXTENDS_INPUT)
        if extended is not None:
            return [extended, *earlier[EXTENDS_INPUT]]
        found = []
        for number in range(max((len(names) for names in earlier.values()), default=0)):
            before = {name: names[min(number, len(names) - 1)] for name, names in earlier.items() if names}
            found += [self.fingerprint(recipe, {**inputs, **before}, one) for one in (self.number, *self.accepts)]
        return found

    def conduct_edges(self, edges: Iterable[str]) -> tuple[str, ...]:
        """Those of the input names that take no part in identity."""
        conduct = {slot.name for slot in self.slots if slot.is_conduct}
        return tuple(name for name in edges if name.split(".", 1)[0] in conduct)

    def bind(self, name: str, recipe: Recipe, *inputs: Bound) -> Step[MadeT_co]:
        """A node of the graph: this stage under a name of its own, with a recipe and the steps it reads.

        Raises `BindError` for a recipe or an input that does not fit, and for a field of the recipe, at its default or
        not, that could mean something else tomorrow, such as a path.
        """
        recipe = self._own_recipe(name, recipe)
        left_out = self.slots[len(inputs) :]
        if len(inputs) > len(self.slots) or not all(slot.is_optional for slot in left_out):
            wanted = ", ".join(f"{slot.name}: {slot.expected()}" for slot in self.slots) or "no inputs"
            raise BindError(f"step {name!r}: {self.name} reads {wanted}; got {len(inputs)} inputs")
        bindings = zip(self.slots, [*inputs, *(None for _ in left_out)], strict=True)
        edges = dict(edge for slot, bound in bindings for edge in _edges(name, slot, bound))
        return Step(name=name, stage=self, recipe=recipe, edges=edges)

    def _own_recipe(self, step: str, recipe: Recipe) -> Recipe:
        """The recipe as the type that the stage declares: defaults of a class made from it are spelled out."""
        if not isinstance(recipe, self.recipe_type):
            raise BindError(f"step {step!r}: {self.name} takes a {self.recipe_type.__name__}, got {recipe!r}")
        try:
            if type(recipe) is not self.recipe_type:
                fields = {field: getattr(recipe, field) for field in type(recipe).model_fields}
                recipe = self.recipe_type.model_validate(fields)
            canonical_form(recipe, type(recipe).__name__, whole=True)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where, known = ".".join(map(str, fault["loc"])), self.recipe_type.__name__
            raise BindError(
                f"step {step!r}: {self.name} takes a {known}, and not the class {type(recipe).__name__} made from it "
                f"({where}: {fault['msg']}); declare a stage of your own for it"
            ) from None
        except UnstableValueError as error:
            raise BindError(f"step {step!r}: {error}") from None
        return recipe

    def arrange(self, artifacts: Mapping[str, Artifact]) -> list[Any]:
        """The positional arguments of the stage function, from artifacts named as the edges are; None for no edge."""
        return [_arranged(slot, artifacts) for slot in self.slots]


@dataclass(frozen=True)
class Step(Generic[MadeT_co]):
    """A stage bound to a name, a recipe and the steps it reads. Inert; its name is not hashed."""

    name: str
    stage: Stage[MadeT_co]
    recipe: Recipe
    edges: Mapping[str, Step[Any]] = field(default_factory=dict)
    """Input name (`raw`, `sources.pairs`, `rows.0`) to the step that makes it."""
    fork: Fork | None = None
    """The checkpoint that its training begins from; None for step 0."""

    @cached_property
    def fingerprint(self) -> str:
        """The name of what this step makes, 64 hex digits."""
        return self.fingerprint_under(self.stage.number)

    @cached_property
    def earlier(self) -> tuple[str, ...]:
        """Fingerprints of what its stage may have made before its inputs grew: parts of it may be taken over."""
        inputs = {name: step.fingerprint for name, step in self.edges.items()}
        before = {name: step.earlier for name, step in self.edges.items()}
        return tuple(self.stage.earlier(self.recipe, inputs, before))

    def fingerprint_under(self, number: int) -> str:
        """What the stage called the same output when its number was `number`."""
        inputs = {name: step.fingerprint for name, step in self.edges.items()}
        return self.stage.fingerprint(self.recipe, inputs, number, fork=self.fork)

    def walk(self) -> list[Step[Any]]:
        """This step and all it depends on, inputs before what reads them, each once."""
        ordered: dict[str, Step[Any]] = {}
        for dependency in self.edges.values():
            ordered |= {step.name: step for step in dependency.walk() if step.name not in ordered}
        return [*ordered.values(), self]


def with_recipes(targets: Sequence[Step[Any]], change: Callable[[Step[Any]], Recipe]) -> tuple[Step[Any], ...]:
    """The graphs behind `targets` with the recipe `change(step)` in each step.

    Each step is rebuilt once, so that steps with two readers stay shared.
    """
    done: dict[str, Step[Any]] = {}

    def rebuilt(step: Step[Any]) -> Step[Any]:
        if step.name not in done:
            edges = {name: rebuilt(dependency) for name, dependency in step.edges.items()}
            done[step.name] = replace(step, recipe=change(step), edges=edges)
        return done[step.name]

    return tuple(rebuilt(target) for target in targets)


def load_stage(import_path: str) -> Stage[Any]:
    """The stage at `module:function`. Raises `BindError` if there is none."""
    module, _, name = import_path.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, Stage):
        raise BindError(f"{import_path} is not a stage; expected module:function of a function declared with @stage")
    return found


def stage(
    *,
    number: int,
    recipe: type[Recipe],
    makes: type[MadeT_co],
    accepts: tuple[int, ...] = (),
    phases: tuple[str, ...] | None = None,
    conduct_inputs: tuple[str, ...] = (),
    part_by_part: str = "",
) -> Callable[[Callable[..., None]], Stage[MadeT_co]]:
    """Declare a stage. Its function is `(recipe, *artifacts, *, ctx) -> None`, artifact kinds given by annotations.

    `number` is raised whenever the output would change; `accepts` lists older numbers whose artifacts stay good.
    `phases` names those of its `ctx.spread`, so that a site which misspells one is refused; another is then an error.
    `conduct_inputs` names inputs that may be left out and change nothing that is made, such as rows that a training is
    only examined on: they take no part in identity, and may be bound otherwise while the work goes on.
    `part_by_part` names an input of which each part is worked on alone, into the part of the same name and nothing
    else: once that input grows, parts of it that did not change are taken over by reference, not worked on again.
    """

    def declare(function: Callable[..., None]) -> Stage[MadeT_co]:
        slots = _slots(function, conduct_inputs)
        if part_by_part and part_by_part not in {slot.name for slot in slots if slot.shape == "one"}:
            one = [slot.name for slot in slots if slot.shape == "one"]
            raise BindError(f"{function.__name__}: part_by_part is {part_by_part!r}, and its single inputs are {one}")
        return Stage(
            function=function,
            number=number,
            recipe_type=recipe,
            makes=makes,
            slots=slots,
            accepts=accepts,
            phases=phases,
            part_by_part=part_by_part,
        )

    return declare


def _slots(function: Callable[..., None], conduct_inputs: tuple[str, ...]) -> tuple[InputSlot, ...]:
    """Raises `BindError` for a conduct input that there is not, or that may not be left out."""
    hints = typing.get_type_hints(function)
    parameters = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    slots = tuple(_slot(name, hints[name]) for name in parameters[1:])
    optional = {slot.name for slot in slots if slot.is_optional}
    if unfit := set(conduct_inputs) - optional:
        raise BindError(
            f"{function.__name__}: conduct_inputs names {sorted(unfit)}, which must be inputs annotated `| None`; "
            f"those are {sorted(optional)}"
        )
    return tuple(replace(slot, is_conduct=slot.name in conduct_inputs) for slot in slots)


def _slot(name: str, hint: Any) -> InputSlot:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if types.NoneType in arguments:
        needed = _slot(name, typing.Union[tuple(kind for kind in arguments if kind is not types.NoneType)])  # noqa: UP007
        return replace(needed, is_optional=True)
    if origin in (typing.Union, types.UnionType):
        return InputSlot(name, arguments, "one")
    if origin is not None and issubclass(origin, Mapping):
        return InputSlot(name, _slot(name, arguments[1]).kinds, "mapping")
    if origin is not None and issubclass(origin, Sequence):
        return InputSlot(name, _slot(name, arguments[0]).kinds, "sequence")
    return InputSlot(name, (hint,), "one")


def _edges(step: str, slot: InputSlot, bound: Bound) -> Iterator[tuple[str, Step[Any]]]:
    named: Mapping[str, Any]
    if bound is None and slot.is_optional:
        named = {}
    elif slot.shape == "one":
        named = {slot.name: bound}
    elif slot.shape == "mapping" and isinstance(bound, Mapping):
        named = {f"{slot.name}.{key}": item for key, item in sorted(bound.items())}
    elif slot.shape == "sequence" and isinstance(bound, Sequence):
        named = {f"{slot.name}.{index}": item for index, item in enumerate(bound)}
    else:
        raise BindError(f"step {step!r}: input {slot.name!r} takes {slot.expected()}, got {bound!r}")
    for name, item in named.items():
        if not isinstance(item, Step):
            raise BindError(f"step {step!r}: input {name!r} takes the step of {slot.expected()}, got {item!r}")
        if not issubclass(item.stage.makes, slot.kinds):
            raise BindError(
                f"step {step!r}: input {name!r} takes {slot.expected()}, "
                f"but step {item.name!r} makes {item.stage.makes.kind}"
            )
        yield name, item


def _arranged(slot: InputSlot, artifacts: Mapping[str, Artifact]) -> Any:
    if slot.is_optional and all(name.split(".", 1)[0] != slot.name for name in artifacts):
        return None
    if slot.shape == "one":
        return artifacts[slot.name]
    inside = {name.split(".", 1)[1]: item for name, item in artifacts.items() if name.split(".", 1)[0] == slot.name}
    if slot.shape == "mapping":
        return inside
    return [inside[key] for key in sorted(inside, key=int)]
