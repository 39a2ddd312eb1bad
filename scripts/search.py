"""The search as a script, for `ray submit` and `ray job submit`; the same arguments as `tune-cmx search`.

ray job submit --working-dir . -- python scripts/search.py search_spaces/cssa_stages.yaml --data /shared/DATA \
    --output-dir /shared/runs --gpus-per-trial 0.5
"""

import sys

from tune_cmx.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
