"""`python -m gaecli` and the console script `gae`."""

from __future__ import annotations


def main() -> None:
    try:
        from gaecli.cli.main import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
