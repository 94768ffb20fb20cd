"""Makes `docs/terminal.svg`, the picture in the README, from a real run: the demo's broken instance, `check`, `repair --apply`.

Run it from the project's root: `.venv/bin/python deploy/terminal_picture.py`.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mastomend.demo.fediverse import fediverse
from mastomend.demo.instance import simulated_instance
from mastomend.demo.services import postgres
from mastomend.demo.story import break_media, populate

COLUMNS = 92
COMMANDS = (["check"], ["repair", "--apply"])
#: rich's own frame asks a CDN for a font; this one asks nobody.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>What mastomend check and mastomend repair print</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def main() -> None:
    """Write the picture."""
    said = Text()
    with tempfile.TemporaryDirectory(prefix="mm-svg-") as name, ExitStack() as stack:
        folder = Path(name)
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        network = stack.enter_context(fediverse())
        instance = stack.enter_context(simulated_instance(folder / "live", socket_dir, "4.5"))
        populate(instance, network)
        for _ in break_media(instance):
            pass
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "FORCE_COLOR": "1",
            "COLUMNS": str(COLUMNS),
        }
        for words in COMMANDS:
            done = subprocess.run(
                [str(Path(sys.executable).with_name("mastomend")), *words], cwd=instance.folder, env=environment,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode in (0, 1), done.stderr
            shown = re.sub(r"file://\S+", "file:///home/mastodon/live/public/system", done.stdout)
            said.append(f"$ mastomend {' '.join(words)}\n", style="bold cyan")
            said.append_text(Text.from_ansi(shown))
            said.append("\n\n")
    said.rstrip()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(said, soft_wrap=True)
    picture = console.export_svg(title="mastomend", code_format=FRAME, unique_id="mastomend")
    (Path(__file__).parents[1] / "docs" / "terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
