"""`train_alone.py` with FSDP on processes without GPUs.

accelerate enables FSDP on GPUs only, though torch supports it on any device. This script patches accelerate to accept
CPUs; from there on the code path is the same as on GPUs.
"""

import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from train_alone import main

_start = AcceleratorState.__init__


def _on_any_device(state: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **more: Any) -> None:
    _start(state, *args, fsdp_plugin=fsdp_plugin, **more)
    state.fsdp_plugin = fsdp_plugin or vars(state).get("fsdp_plugin")
    if state.fsdp_plugin and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.FSDP


AcceleratorState.__init__ = _on_any_device

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
