"""`python -m gaecli` and the console script `gae`."""

from __future__ import annotations


def main() -> None:
    from gaecli.cli.main import run

    run()


if __name__ == "__main__":
    main()
