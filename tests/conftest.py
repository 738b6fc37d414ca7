"""For every test: no network, one thread, nothing fetched.

Sockets are blocked by pytest-socket (see `addopts`); a test that talks to itself names the loopback address with
`@pytest.mark.allow_hosts(["127.0.0.1"])`.
"""

import os

# Before anything loads torch or transformers: both read these once.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
)
