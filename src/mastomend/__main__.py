"""`mastomend` and `python -m mastomend`: Ctrl-C is heard before anything else is read."""

from mastomend.interrupts import listen


def main() -> None:
    """The console script."""
    listen()
    from mastomend.cli.app import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
