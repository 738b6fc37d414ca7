"""The same work with other engines, each as a script for its own virtual environment; see `bench.teach`.

Each prints a line of JSON: records kept, and the seconds of its run without the import of the package.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """Another engine: packages to install, and the script that does the work."""

    packages: tuple[str, ...]
    script: str


_DISTILABEL = """
import json, sys, time
from distilabel.models.llms.base import LLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


class Echo(LLM):
    @property
    def model_name(self):
        return "echo"

    def generate(self, inputs, num_generations=1):
        said = {"generations": ["text: said."], "statistics": {"input_tokens": [40], "output_tokens": [10]}}
        return [dict(said) for _ in inputs]


if __name__ == "__main__":
    count = int(sys.argv[1])
    with Pipeline(name="bench") as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": f"Say something about {i}."} for i in range(count)])
        rows >> TextGeneration(llm=Echo())
    start = time.perf_counter()
    made = pipeline.run(use_cache=True)
    seconds = time.perf_counter() - start
    kept = sum(row is not None for row in made["default"]["train"]["generation"])
    print()
    print(json.dumps({"records": kept, "seconds": seconds}))
"""

#: Name of the environment → engine; distilabel does not declare its dependency `requests`.
PEERS = {"distilabel": Peer(("distilabel", "requests"), _DISTILABEL)}
