"""Entry point of ``python -m skopu``."""

from skopu.comparison.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
