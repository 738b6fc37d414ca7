"""Load and compile a policy file; an invalid file is refused with its line and a remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cedarpy
from pydantic import ValidationError

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError
from holdfast.guard.policy.policy import Policy
from holdfast.guard.policy.schema import Confinement, Constraint, Label, Limits, PolicyFile, Rule, When
from holdfast.guard.policy.strict_yaml import Key, ParsedYaml, read_yaml
from holdfast.guard.policy.validate import Fault, faults, misnamed, name_entry

_MODELS = (PolicyFile, Rule, Label, Constraint, Limits, When, Confinement)
_KEYS = sorted({name for model in _MODELS for name in model.model_fields})


def load_policy(path: Path, tools: Mapping[str, Collection[str]] | None = None) -> Policy:
    """Read, validate and compile a policy.

    Args:
        path: the YAML file.
        tools: every `server/tool` that the servers offer with the names of its arguments, if known.

    Raises:
        ConfigError: the file is not a valid policy: it is empty, has an unknown key, tool, argument, agent or label,
            an invalid address or path, a rule that another rule overrides, or fails Cedar's strict validation.
        PrerequisiteError: cedarpy is not installed.
    """
    source = read_yaml(path)
    try:
        file = PolicyFile.model_validate(source.data)
    except ValidationError as error:
        raise _shape_fault(source, error) from None
    for fault in (*faults(file), *(misnamed(file, tools) if tools is not None else ())):
        what = _with_entry(source.data, fault.key, fault.what)
        raise ConfigError(what, where=source.where(*fault.key), remedy=fault.remedy)
    policy = Policy(file, source.where)
    for text in (policy.cedar, policy.traces):
        found = cedarpy.validate_policies(text, policy.schema)
        if not found.validation_passed:
            what = f"the generated Cedar policy is invalid: {found.errors[0].error}"
            raise ConfigError(what, where=path, remedy="this is a bug in Holdfast: please report it with the file")
    return policy


def check_tools(policy: Policy, tools: Mapping[str, Collection[str]], server: str = "") -> list[Fault]:
    """Return the tools and arguments that a policy names but the servers do not have.

    Args:
        policy: a loaded policy.
        tools: every `server/tool` that the servers offer with the names of its arguments.
        server: if given, `tools` covers only this server, and rules on other servers are not checked.
    """
    data = policy.source.model_dump(mode="json")
    return [
        replace(fault, what=f"{policy.where(*fault.key)}: {_with_entry(data, fault.key, fault.what)}")
        for fault in misnamed(policy.source, tools, server)
    ]


def _with_entry(data: Any, key: Key, what: str) -> str:
    """Return a message that names the rule or label which it is about."""
    entry = name_entry(data, key)
    return what if not entry or entry[:-2] in what else entry + what


def _shape_fault(source: ParsedYaml, error: ValidationError) -> ConfigError:
    """Return the one error to show: a misspelt key before the key it leaves missing, and the innermost error first."""
    found = [(_key(source.data, fault["loc"]), fault) for fault in error.errors()]
    rank = {"extra_forbidden": 0, "missing": 1, "literal_error": 3}
    key, fault = min(found, key=lambda pair: (rank.get(pair[1]["type"], 2), -len(pair[0])))
    entry = name_entry(source.data, key)
    name = ".".join(str(part) for part in (key[2:] if entry and len(key) > 2 else key)) or "the policy"
    if fault["type"] == "extra_forbidden":
        near = nearest(str(key[-1]), _KEYS)
        remedy = f"did you mean '{near}'?" if near else "remove it"
        return ConfigError(entry + f"unknown key '{name}'", where=source.where(*key), remedy=remedy)
    if fault["type"] == "missing":
        return ConfigError(entry + f"missing key '{name}'", where=source.where(*key), remedy="add it")
    what = fault["msg"].removeprefix("Value error, ")
    what = what if entry and len(key) == 2 else f"{name}: {what}"
    return ConfigError(_with_entry(source.data, key, what), where=source.where(*key), remedy="correct this value")


def _key(data: Any, loc: tuple[str | int, ...]) -> Key:
    """Return the path of an error in the file; pydantic also names the member of a union, which is not in the file."""
    key: list[str | int] = []
    for at, part in enumerate(loc):
        last = at == len(loc) - 1
        here = isinstance(data, dict) and part in data
        listed = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if here or listed:
            data = data[part]
        if here or listed or (last and isinstance(data, dict) and isinstance(part, str) and part.isidentifier()):
            key.append(part)
    return tuple(key)
