"""Entry point of ``python -m skopu``."""

from skopu.command.front import main

if __name__ == "__main__":
    raise SystemExit(main())
