"""Units where systemd finds them; what somebody else made is left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mastomend.errors import ConfigurationError
from mastomend.state_files import replace_text

#: Where an administrator's own units belong.
FOLDER = Path("/etc/systemd/system")
#: How a file begins that may be made anew.
MADE_HERE = "# Made by `mastomend systemd`"


@dataclass(frozen=True, slots=True)
class Written:
    """A unit: its file, its text, and what became of it: `shown`, `written`, `unchanged`, or `left` as it is not ours."""

    path: Path
    text: str
    became: str


def install(texts: dict[str, str], folder: Path, *, apply: bool) -> list[Written]:
    """Write them there, or say what would be written. A file of the same name that was not made here is left as it is.

    Raises:
        ConfigurationError: the folder cannot be written.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no directory.", hint="Make it, or name another --folder.")
    written = []
    for name, text in texts.items():
        path = folder / name
        try:
            old = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
            if old is not None and not old.startswith(MADE_HERE):
                became = "left"
            elif old == text:
                became = "unchanged"
            elif apply:
                replace_text(path, text, 0o644)
                became = "written"
            else:
                became = "shown"
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}.", hint="Run it as root, or name another --folder."
            ) from None
        written.append(Written(path, text, became))
    return written
