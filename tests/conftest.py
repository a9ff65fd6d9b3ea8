"""What several test files share: where the public data lie."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets, or a skip that says how to name one."""
    named = os.environ.get("CALLGRAIN_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no public data here: set CALLGRAIN_SHARED_DATA to a folder with bfcl_v4/, sgd/ and gsm8k/")
    return folder
