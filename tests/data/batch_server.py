"""A fake provider's batch API on the loopback: upload a file, create a batch, download the results a moment later."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.serve import asked, completion
from holdfast.models.base import Model


class BatchServer:
    """The application, and the requests it received.

    A batch is looked at in vain once, the second look meets an error, and the third finds it done; of the first
    `rejected` batches it finds that they were not taken.
    """

    def __init__(self, model: Model, rejected: int = 0) -> None:
        self._model, self._rejected = model, rejected
        self.sizes: list[int] = []
        self.prompts: Counter[str] = Counter()
        self._files: dict[str, str] = {}
        self._looks: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route("/v1/files", self._upload, methods=["POST"]),
                Route("/v1/files/{id}/content", self._download),
                Route("/v1/batches", self._create, methods=["POST"]),
                Route("/v1/batches/{id}", self._look),
            ]
        )

    async def _upload(self, http: HttpRequest) -> Response:
        async with http.form() as form:
            file = form["file"]
            assert not isinstance(file, str)
            text = (await file.read()).decode()
        name = f"in-{len(self._files)}"
        self._files[name] = text
        return JSONResponse({"id": name, "object": "file", "bytes": len(text), "purpose": "batch", "created_at": 0})

    async def _create(self, http: HttpRequest) -> Response:
        name = (await http.json())["input_file_id"]
        lines = [json.loads(line) for line in self._files[name].splitlines()]
        self.sizes.append(len(lines))
        self._files[f"out-{name}"] = "\n".join(json.dumps(self._answer(line)) for line in lines)
        return JSONResponse(_batch(name, "validating"))

    def _answer(self, line: dict[str, Any]) -> dict[str, Any]:
        prompt = line["body"]["messages"][-1]["content"]
        self.prompts[f"{prompt}{line['body'].get('seed')}"] += 1
        [output] = self._model.generate([asked(line["body"])])
        body = completion(line["body"]["model"], output)
        return {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}

    async def _look(self, http: HttpRequest) -> Response:
        name = http.path_params["id"]
        self._looks[name] += 1
        if self._looks[name] == 2:
            return JSONResponse({"error": {"message": "out of order"}}, 500)
        if self._looks[name] == 1:
            return JSONResponse(_batch(name, "in_progress"))
        taken = list(self._looks).index(name) >= self._rejected
        return JSONResponse(_batch(name, "completed" if taken else "failed"))

    async def _download(self, http: HttpRequest) -> Response:
        return Response(self._files[http.path_params["id"]])


def _batch(name: str, status: str) -> dict[str, Any]:
    done = {"output_file_id": f"out-{name}"} if status == "completed" else {}
    return {
        "id": name,
        "object": "batch",
        "status": status,
        "input_file_id": name,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "created_at": 0,
        **done,
    }
