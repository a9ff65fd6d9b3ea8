"""Callgrain finds which grain of function calling a model lacks, and trains or patches exactly that."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callgrain.api import build, diagnose, grade, open_model, open_source, read_tools

__version__ = "0.1.0"
__all__ = ["__version__", "build", "diagnose", "grade", "open_model", "open_source", "read_tools"]


def __getattr__(name: str) -> Any:
    """What the verbs do, imported when it is first asked for: `import callgrain` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from callgrain import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
