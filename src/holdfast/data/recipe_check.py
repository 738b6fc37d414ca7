"""Checks of a recipe's parts against one another, with file and line: before a request is sent, not after an hour.

Keys and types are checked while the files are read; this looks for names that lead nowhere: a check on a field that no
stage fills, a form whose labels no stage writes, a label in `floor` that no answer contains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.config import line_of, load_toml, nearest
from holdfast.core.errors import ConfigError, ProseError
from holdfast.data.stages import PromptStage, line_of_key

if TYPE_CHECKING:
    from holdfast.data.recipes import RecipeFile

#: Form → labels without which no example can be assembled.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "document": ("text",),
    "chat": ("user", "assistant"),
    "episode": ("system", "user", "mail", "call"),
    "either": ("user",),
    "tools": ("user", "call", "result", "assistant", "tool"),
    "task": ("user", "reward", "answer"),
}


def check_stages(stages: Sequence[PromptStage]) -> None:
    """Check the labels that a stage's front matter names.

    Raises:
        ProseError: two stages of a recipe have the same name; a key names a label that the answer cannot contain;
            `same` or `as_long_as` names a label that no earlier stage fills.
    """
    earlier: set[str] = set()
    names: dict[str, PromptStage] = {}
    for stage in stages:
        head, path = stage.head, stage.prose.path
        if stage.key in names:
            what = f"the stage '{head.name}' is also in {names[stage.key].prose.path.name}"
            raise ProseError(what, where=f"{path}:{line_of_key(path, 'name')}", remedy="rename one of them")
        names[stage.key] = stage
        own = {*head.fields, *head.may}
        for key, labels in (
            ("repeat", head.repeat),
            ("body", [head.body] if head.body else []),
            ("gate", [head.gate] if head.gate else []),
            ("floor", list(head.floor)),
            ("same", head.same),
            ("as_long_as", list(head.as_long_as)),
        ):
            # A number or a gate that may be missing could not be read.
            known = set(head.fields) if key in ("gate", "floor", "as_long_as") else own
            _known(labels, known, f"'{key}' names", f"{path}:{line_of_key(path, key)}")
        for key, labels in (("same", head.same), ("as_long_as", list(head.as_long_as.values()))):
            where = f"{path}:{line_of_key(path, key)}"
            _known(labels, earlier, f"'{key}' compares with", where, "no earlier stage fills it")
        earlier |= own


def check_file(
    folder: Path, file: RecipeFile, stages: Sequence[PromptStage], axes: Iterable[str], principles: Iterable[str]
) -> None:
    """Check what `recipe.toml` says about labels, axes, factors and principles.

    Raises:
        ConfigError: a name leads nowhere; the error names file and line.
    """
    toml = folder / "recipe.toml"
    own = load_toml(toml, type(file))  # what is inherited is checked with the recipe that it stands in
    filled = {label for stage in stages for label in (*stage.head.fields, *stage.head.may)}
    values = {**file.axes, **file.factors}
    if lacking := [label for label in _NEEDS[file.form] if label not in filled]:
        what = f"no stage writes '{lacking[0]}', without which there is no example of the form '{file.form}'"
        raise ConfigError(what, where=f"{toml}:{line_of(toml, ['form'])}", remedy="add a stage, or change the form")
    for at, check in enumerate(own.checks):
        where = f"{toml}:{line_of(toml, ['checks', str(at), 'field'])}"
        _known([check.field], {*filled, *file.defaults}, "a check is on", where, "no stage fills it", ConfigError)
        _known(check.when, {*values, *axes}, "a check names the axis", where, error=ConfigError)
        for axis, value in check.when.items():
            known = set(values.get(axis, (value,)))
            _known([value], known, f"a check names, of '{axis}',", where, error=ConfigError)
    for factor, wanted in own.trained.items():
        where = f"{toml}:{line_of(toml, ['trained', factor])}"
        _known([factor], set(file.factors), "'trained' names the factor", where, error=ConfigError)
        _known(wanted, set(file.factors[factor]), f"'trained' names, of '{factor}',", where, error=ConfigError)
    for language, texts in own.texts.items():
        for name, by_value in texts.items():
            where = f"{toml}:{line_of(toml, ['texts', language, name])}"
            _known([name], set(values), "'texts' names", where, error=ConfigError)
            _known(by_value, set(values[name]), f"'texts' names, of '{name}',", where, error=ConfigError)
    if principles := set(principles):
        where = f"{toml}:{line_of(toml, ['principles'])}"
        _known(own.principles, principles, "'principles' names", where, error=ConfigError)


def _known(
    names: Iterable[str],
    known: set[str],
    what: str,
    where: str,
    why: str = "which does not exist",
    error: type[ConfigError] | type[ProseError] = ProseError,
) -> None:
    for name in names:
        if name not in known:
            near = nearest(name, sorted(known))
            remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
            raise error(f"{what} '{name}', {why}", where=where, remedy=remedy)
