"""models: opens any model by name.

    open_model("organism/pocket")       the embedded organism
    open_model("smollm2-135m-instruct")  a small open model of `holdfast models list`, once downloaded
    open_model("hf/PATH")               any transformers checkpoint on disk
    open_model("gguf/PATH")             any GGUF file on disk, converted on first use
    open_model("scripted/blackmailer")  an agent with planted behaviour
    open_model("openai/…", network=True)  an API model, through Inspect

A model takes a list of `Request`s and returns one `Output` for each; it decides itself how to batch them.  Imports
only `core`.
"""

from holdfast.models.base import Model, Output, Request
from holdfast.models.registry import open_model

__all__ = ["Model", "Output", "Request", "open_model"]
