"""The real BFCL checker against the clock: run by `verdict` in the peer's own environment.

The first line holds `rollouts` and `sets` of outputs, {set: [[functions, output, answers, category],
...]}; every further line names a set, each of whose outputs is then checked so many times in a row,
and the answer is the seconds that one round of them took and how many were valid.
It imports nothing of ours, since that environment has none of it.
"""

import gc
import json
import sys
import time


def main() -> None:
    """Answer line by line; the real package prints, so its prints go to stderr."""
    out, sys.stdout = sys.stdout, sys.stderr
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    model, python = "gorilla-openfunctions-v2", Language.PYTHON  # a model whose tool names keep their dots
    asked = json.loads(sys.stdin.readline())
    sets, rollouts = asked["sets"], asked["rollouts"]
    gc.freeze()
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        rows, valid = sets[line.strip()], 0
        start = time.process_time()
        for functions, outputs, answers, category in rows:
            for _ in range(rollouts):
                right = ast_checker(functions, outputs, answers, python, category, model)["valid"]
            valid += right
        print(json.dumps([(time.process_time() - start) / rollouts, valid]), file=out, flush=True)


if __name__ == "__main__":
    main()
