"""Opens models by name.  There is no default model, and no network access unless an API model is named and allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from holdfast.core.config import nearest
from holdfast.core.errors import HoldfastError, ModelError, PrerequisiteError
from holdfast.core.extras import needs
from holdfast.core.identity import key_of
from holdfast.core.plugins import Plugin, find_plugin, plugin_function, plugins
from holdfast.models.base import Model, Output, Request
from holdfast.models.pinned import model_card, model_folder, near_pinned, pinned

#: Prefix → module with `open_named(rest) -> Model`, imported late, so that a scripted agent does not load torch.
OPENERS = {
    "scripted": "holdfast.models.scripted",
    "hf": "holdfast.models.local",
    "gguf": "holdfast.models.gguf",
    "organism": "holdfast.organism.provider",
    "pocket": "holdfast.organism.author",
}
API_OPENER = "holdfast.models.api"
#: Prefixes of API models, opened through Inspect.
API = ("anthropic", "openai", "openai-api", "google", "mistral", "together", "openrouter", "vllm", "ollama")


def api_identity(name: str) -> str:
    """Return the identity of an API model, which is a hash of its name: nothing else is known."""
    return key_of(["api", name])


@dataclass(frozen=True)
class NamedModel:
    """An API model that is not opened, so that a plan needs neither the provider's package nor an API key."""

    name: str

    @property
    def identity(self) -> str:
        """The same as of the opened model."""
        return api_identity(self.name)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Raise ModelError, because the model is not open."""
        raise ModelError(f"'{self.name}' was only named, not opened", remedy="open it with open_model")


def name_model(name: str) -> Model:
    """Return a model for a plan: an API model is not opened, any other is opened by `open_model`.

    Raises:
        ModelError: as `open_model`.
        PrerequisiteError: as `open_model`, for models other than API models.
    """
    prefix, slash, rest = name.partition("/")
    return NamedModel(name) if slash and rest and prefix in API else open_model(name)


def runs_here(name: str) -> bool:
    """Whether the model of that name runs in this process, so that nothing is sent or charged."""
    return name in pinned() or name.partition("/")[0] in OPENERS


def open_model(name: str, *, network: bool = False) -> Model:
    """Open a model: `scripted/NAME`, `hf/PATH`, `gguf/PATH`, `organism/pocket`, or an API model such as `openai/…`.

    Another prefix is looked up among installed plugins (entry points `holdfast.models`).  A name without a slash is one
    of `holdfast models list`; it is opened from the cache and never downloaded here.

    Raises:
        ModelError: if the prefix is unknown, the checkpoint is invalid, or network access is not allowed.
        InputError: if a plugin's name is taken or its module fails.
        PrerequisiteError: if the model is not downloaded yet, or a package is not installed.
    """
    prefix, slash, rest = name.partition("/")
    if name in pinned():
        return _fetched(name)
    plugin = find_plugin("models", prefix, (*OPENERS, *API)) if slash and rest else None
    if plugin:
        return _plugged(plugin, rest)
    if slash and rest and prefix in OPENERS:
        with needs("local"):
            opener = import_module(OPENERS[prefix])
        model: Model = opener.open_named(rest)
        return model
    if slash and rest and prefix in API:
        if not network:
            raise ModelError(
                f"'{name}' needs network access, which is not allowed", remedy="allow it with network=True"
            )
        with needs("measure"):
            opener = import_module(API_OPENER)
        api: Model = opener.open_named(name)
        return api
    prefixes = [*OPENERS, *API, *(plugin.name for plugin in plugins("models"))]
    near = near_pinned(name) or nearest(prefix, prefixes)
    known = ", ".join(f"{start}/…" for start in prefixes)
    hint = near if near in pinned() else f"{near}/…"
    remedy = f"did you mean '{hint}'?" if near else f"use a name of `holdfast models list`, or one of {known}"
    raise ModelError(f"no model called '{name}'", remedy=remedy)


def _plugged(plugin: Plugin, rest: str) -> Model:
    """Open a model of a plugin; `rest` is the name after the prefix."""
    opened = plugin_function(plugin, "open_named")
    try:
        model = opened(rest)
    except HoldfastError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        raise plugin.error(f"open_named('{rest}') failed: {reason}") from error
    missing = [member for member in ("name", "identity", "generate") if not hasattr(model, member)]
    if missing:
        raise plugin.error(f"open_named('{rest}') returned a {type(model).__name__} without '{missing[0]}'")
    return model  # type: ignore[no-any-return]


def _fetched(name: str) -> Model:
    if model_card(name) is None:
        raise PrerequisiteError(f"'{name}' is not downloaded yet", remedy=f"holdfast models get {name}")
    with needs("local"):
        opener = import_module(OPENERS["hf"])
    opened: Model = opener.LocalModel(model_folder(name), name=name)
    return opened
