"""Opens a model by name. No default model, and no network unless a network model is named and allowed."""

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
from holdfast.models.pinned import model_card, model_folder, pinned

#: prefix → module with `open_named(rest) -> Model`. By name, so that opening a script never loads torch.
DOORS = {
    "scripted": "holdfast.models.scripted",
    "hf": "holdfast.models.local",
    "gguf": "holdfast.models.gguf",
    "organism": "holdfast.organism.provider",
    "pocket": "holdfast.organism.author",
}
API_DOOR = "holdfast.models.api"
#: prefixes that reach the network, through Inspect
API = ("anthropic", "openai", "openai-api", "google", "mistral", "together", "openrouter", "vllm", "ollama")


def api_identity(name: str) -> str:
    """The identity of an API model: the name is all that is known of it."""
    return key_of(["api", name])


@dataclass(frozen=True)
class Named:
    """An API model that is known by name only, so that a plan needs neither its provider's package nor a key."""

    name: str

    @property
    def identity(self) -> str:
        """As the opened model's."""
        return api_identity(self.name)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Raise ModelError: nobody is asked."""
        raise ModelError(f"'{self.name}' was only named, not opened", remedy="open it with open_model")


def name_model(name: str) -> Model:
    """A model for a plan: an API model by its name alone, any other opened as `open_model` does.

    Raises:
        ModelError: as `open_model`.
        PrerequisiteError: as `open_model`, for a model that is not behind an API.
    """
    prefix, slash, rest = name.partition("/")
    return Named(name) if slash and rest and prefix in API else open_model(name)


def runs_here(name: str) -> bool:
    """Whether the model of that name runs inside this process: nothing it does is sent anywhere or paid for."""
    return name in pinned() or name.partition("/")[0] in DOORS


def open_model(name: str, *, network: bool = False) -> Model:
    """Open a model: `scripted/NAME`, `hf/PATH`, `gguf/PATH`, `organism/pocket`, or an API model such as `openai/…`.

    A prefix that is none of these is looked up among installed plugins (entry points `holdfast.models`).  A name
    without a slash is one of `holdfast models list`; it is opened from the cache and never fetched here.

    Raises:
        ModelError: the name has no known prefix, the checkpoint is not one, or the network was not allowed.
        InputError: a plugin's name is taken or its module is broken.
        PrerequisiteError: the model was not fetched yet, or the package that the door needs is not installed.
    """
    prefix, slash, rest = name.partition("/")
    if name in pinned():
        return _fetched(name)
    plugin = find_plugin("models", prefix, (*DOORS, *API)) if slash and rest else None
    if plugin:
        return _plugged(plugin, rest)
    if slash and rest and prefix in DOORS:
        with needs("local"):
            door = import_module(DOORS[prefix])
        model: Model = door.open_named(rest)
        return model
    if slash and rest and prefix in API:
        if not network:
            raise ModelError(
                f"'{name}' is reached over the network, which is shut", remedy="allow it with network=True"
            )
        with needs("measure"):
            door = import_module(API_DOOR)
        api: Model = door.open_named(name)
        return api
    prefixes = [*DOORS, *API, *(plugin.name for plugin in plugins("models"))]
    near = nearest(name, list(pinned())) or nearest(prefix, prefixes)
    known = ", ".join([*(f"{door}/" for door in prefixes), "or are listed by `holdfast models list`"])
    hint = near if near in pinned() else f"{near}/…"
    remedy = f"did you mean '{hint}'?" if near else f"names start with {known}"
    raise ModelError(f"no model called '{name}'", remedy=remedy)


def _plugged(plugin: Plugin, rest: str) -> Model:
    """The model that a plugin opens under the rest of a name."""
    opened = plugin_function(plugin, "open_named")
    try:
        model = opened(rest)
    except HoldfastError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        raise plugin.error(f"open_named('{rest}') failed: {reason}") from error
    lacks = [member for member in ("name", "identity", "generate") if not hasattr(model, member)]
    if lacks:
        raise plugin.error(f"open_named('{rest}') returned a {type(model).__name__} without '{lacks[0]}'")
    return model  # type: ignore[no-any-return]


def _fetched(name: str) -> Model:
    if model_card(name) is None:
        raise PrerequisiteError(f"'{name}' was not fetched yet", remedy=f"holdfast models get {name}")
    with needs("local"):
        door = import_module(DOORS["hf"])
    opened: Model = door.LocalModel(model_folder(name), name=name)
    return opened
