"""``python -m demo``: start the demo; Ctrl-C stops all of it."""

from __future__ import annotations

import logging
import sys

from demo.airflow_client import AirflowError
from demo.launcher import DemoError, run
from demo.options import parse


def main() -> int:
    """Run the demo until it is interrupted; 1 when it could not start."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    options = parse(sys.argv[1:])
    try:
        run(options)
    except KeyboardInterrupt:
        sys.stdout.write("Stopped.\n")
        return 0
    except (AirflowError, DemoError, RuntimeError, OSError) as error:
        sys.stderr.write(f"The demo cannot go on: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
