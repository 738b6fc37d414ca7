"""Copy a checkpoint with a tokenizer that writes some of its tokens as plain text.

python runs/plain_tags.py qwen2.5-coder-0.5b-instruct OUT "<tool_call>" "</tool_call>"

The rows of these two tokens in the output head of Qwen2.5-Coder-0.5B-Instruct are the same as those of some 3,700
tokens that were never trained (cosine 1.0000), so no training of the layers below can make the model write one of them
rather than any of the others.  As plain text a tag is made of tokens that the model knows; the chat template and the
reading of calls stay the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import HoldfastError, InputError
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.pinned import CARD

TOKENIZER, WEIGHTS = "tokenizer.json", ".safetensors"


def write_plain(base: Path, out: Path, tags: Sequence[str]) -> None:
    """Copy a checkpoint and take `tags` out of the added tokens of its tokenizer; weights are linked where possible.

    Raises:
        InputError: the tokenizer does not add one of the tags.
    """
    data = json.loads((base / TOKENIZER).read_text(encoding="utf-8"))
    added = {token["content"] for token in data["added_tokens"]}
    if missing := [tag for tag in tags if tag not in added]:
        what = f"the tokenizer adds no token '{missing[0]}'"
        raise InputError(what, where=base / TOKENIZER, remedy=f"name some of: {', '.join(sorted(added))}")
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in tags]
    out.mkdir(parents=True, exist_ok=True)
    # The card of a fetched model lists the sizes of its files, which are no longer those.
    for file in sorted(path for path in base.iterdir() if path.is_file() and path.name not in (TOKENIZER, CARD)):
        copy = out / file.name
        copy.unlink(missing_ok=True)
        if file.suffix == WEIGHTS:
            _link(file, copy)
        else:
            shutil.copyfile(file, copy)
    (out / TOKENIZER).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # another file system
        shutil.copyfile(file, copy)


def main() -> int:
    """Copy one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the name of a fetched model, or hf/FOLDER")
    parser.add_argument("out", type=Path)
    parser.add_argument("tags", nargs="+")
    options = parser.parse_args()
    try:
        write_plain(checkpoint_path(options.model), options.out, options.tags)
    except HoldfastError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
