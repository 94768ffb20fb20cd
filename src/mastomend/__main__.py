"""`mastomend` and `python -m mastomend`: Ctrl-C is heard before anything else is read."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))  # before there is somebody to tell it in words

from mastomend.interrupts import listen


def main() -> None:
    """The console script."""
    listen()
    from mastomend.cli.app import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
