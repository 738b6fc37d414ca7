"""The distribution's extras: which modules each brings, and the error if one of them is not installed.

Imports of a module that an extra brings go inside `with needs("guard"):`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.errors import PrerequisiteError

#: The package index's `holdfast` is another project.
DISTRIBUTION = "holdfast-align"
#: extra → the modules that it brings by itself.  pyproject.toml holds the same as distributions; a test compares them.
EXTRAS = {
    "guard": (
        *("aiohttp", "anyio", "cedarpy", "cryptography", "httptools", "jsonschema", "mcp", "referencing"),
        *("starlette", "uvicorn", "webauthn", "yarl"),
    ),
    "measure": ("inspect_ai", "numpy", "openai", "scipy", "statsmodels"),
    "local": (
        *("accelerate", "gguf", "huggingface_hub", "numpy", "psutil", "safetensors", "scipy"),
        *("statsmodels", "tokenizers", "torch", "transformers"),
    ),
    "train": ("accelerate", "bitsandbytes", "datasets", "peft", "trl"),
    "teach": ("email_validator", "phonenumbers", "pyarrow", "rensa", "tokenizers"),
    "cluster": ("ray",),
}
#: extra → the extras that it includes
INCLUDED = {"train": ("local",), "teach": ("measure",), "cluster": ("measure",)}


def install(*extras: str) -> str:
    """The command that installs Holdfast with these extras."""
    return f"pip install '{DISTRIBUTION}[{','.join(extras)}]'"


def missing(module: str, extra: str = "", *, where: str | Path = "") -> PrerequisiteError:
    """The error for a module that is not installed; its remedy names an extra that brings the module.

    Args:
        module: as imported; what follows the first dot is left out.
        extra: the extra of what was asked for, preferred where it brings the module.
        where: the place that needs it.
    """
    name = module.partition(".")[0]
    preferred = [extra] if extra in EXTRAS and name in _brings(extra) else []
    found = next((e for e in [*preferred, *EXTRAS] if name in _brings(e)), "")
    remedy = install(found) if found else f"pip install {name}"
    return PrerequisiteError(f"{name} is not installed", where=where, remedy=remedy)


@contextmanager
def needs(extra: str, *, where: str | Path = "") -> Iterator[None]:
    """Around imports of what an extra brings.

    Raises:
        PrerequisiteError: a module is not installed; one of Holdfast's own comes through as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "holdfast").partition(".")[0] == "holdfast":
            raise
        raise missing(error.name or "", extra, where=where) from None


def require(extra: str, *modules: str) -> None:
    """Look whether modules are installed, without importing them.

    Raises:
        PrerequisiteError: one is not.
    """
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise missing(name, extra)


def _brings(extra: str) -> set[str]:
    return {*EXTRAS[extra], *(name for included in INCLUDED.get(extra, ()) for name in _brings(included))}
