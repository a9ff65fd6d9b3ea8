"""The real BFCL checker behind JSON lines: run by `conformance` in the peer's own environment.

Each line holds a row (functions, answers, category) and decoded outputs; the answer holds a
[valid, error type] or the name of an exception for each, and the seconds spent in the checker.
It imports nothing of ours, since that environment has none of it.
"""

import json
import sys
import time


class Decoded:
    """Stands in for a model's handler: the output is already decoded, or cannot be."""

    def decode_ast(self, result, language=None, has_tool_call_tag=False):
        """The output itself. Raises ValueError where it is marked as one that cannot be decoded."""
        if isinstance(result, dict) and result.get("$undecodable"):
            raise ValueError("not decodable")
        return result


def restored(value):
    """`{"$tuple": [...]}` as a tuple, at any depth."""
    if isinstance(value, dict):
        if list(value) == ["$tuple"]:
            return tuple(restored(v) for v in value["$tuple"])
        return {k: restored(v) for k, v in value.items()}
    return [restored(v) for v in value] if isinstance(value, list) else value


def main() -> None:
    """Answer line by line; the real package prints, so its prints go to stderr."""
    out, sys.stdout = sys.stdout, sys.stderr
    sys.set_int_max_str_digits(0)
    from bfcl_eval.constants.enums import Language, ReturnFormat
    from bfcl_eval.eval_checker import eval_runner
    from bfcl_eval.utils import is_java, is_js, is_relevance_or_irrelevance

    model, handler = "gorilla-openfunctions-v2", Decoded()  # a model whose tool names keep their dots
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        row = json.loads(line)
        category, judged, spent = row["category"], [], 0.0
        language = Language.JAVA if is_java(category) else Language.JAVASCRIPT if is_js(category) else Language.PYTHON
        entry = {"function": row["function"]}
        for output in map(restored, row["outputs"]):
            start = time.perf_counter()
            try:
                if is_relevance_or_irrelevance(category):
                    found = eval_runner._evaluate_single_relevance_entry(handler, "", output, entry, model, category)
                else:
                    found = eval_runner._evaluate_single_ast_entry(
                        handler, "", output, row["answers"], entry, model, category, language, ReturnFormat.PYTHON
                    )
                verdict = [found["valid"], found.get("error_type", "") if not found["valid"] else ""]
            except Exception as error:
                verdict = [None, type(error).__name__]
            spent += time.perf_counter() - start
            judged.append(verdict)
        print(json.dumps([judged, spent]), file=out, flush=True)


if __name__ == "__main__":
    main()
