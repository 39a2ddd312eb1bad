"""The search as a script, for `ray job submit`, `ray submit`, KubeRay and Slurm; the arguments of `tune-cmx search`.

ray job submit --working-dir . -- python scripts/search.py search_spaces/cssa_stages.yaml --data /shared/DATA \
    --output-dir /shared/runs --gpus-per-trial 0.5 --resume-or-start
"""

import sys

from tune_cmx.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
