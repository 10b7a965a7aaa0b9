"""`python -m engine.worker` is `corral worker`: see process/daemon.py."""

import sys

from engine.worker.process.daemon import main

# Children of a process pool import this file again, under another name.
if __name__ == "__main__":
    sys.exit(main())
