"""For every test: no network, one thread, nothing fetched.

Sockets are blocked by pytest-socket (see `addopts`); a test that talks to itself names the loopback address with
`@pytest.mark.allow_hosts(["127.0.0.1"])`.
"""

import os
from pathlib import Path

import pytest

from tests.wheel import Installed, build_wheel, install_beside

# Before anything loads torch or transformers: both read these once.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    """An environment with the wheel, and with everything else that the tests themselves have."""
    return install_beside(tmp_path_factory.mktemp("installed") / "venv", wheel)
