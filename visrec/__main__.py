"""``python -m visrec``: the same commands on a laptop, in a Kubernetes Job and in a pipeline step."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from visrec.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
