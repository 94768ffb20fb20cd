"""Another story of the demo: the media of a small server move into a bucket while people go on, and back again."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mastomend.commands.check import check
from mastomend.commands.instance import Instance, open_instance
from mastomend.commands.migrate import migrate
from mastomend.commands.migrate_end import finish, rollback
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport, Step
from mastomend.demo.fediverse import fediverse
from mastomend.demo.instance import BucketMedia, SimulatedInstance, simulated_instance
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server, postgres, s3_server
from mastomend.demo.story import Checked, Running, Told, populate, prepared
from mastomend.mastodon.kinds import AVATARS
from mastomend.progress import Progress

_BUCKET = "media-of-example-social"
#: People on each server: enough to move.
_EACH = 6


@dataclass(frozen=True, slots=True)
class Moved:
    """A step of the move was made; `to` is the file that names the bucket."""

    report: MigrateReport
    env: Path
    to: Path


MoveEvent = Told | Checked | Running | Moved


def moving_story(folder: Path, progress: Progress) -> Generator[MoveEvent]:
    """Run it in `folder`, which is made new.

    Raises:
        ConfigurationError: the folder holds something else, or a part of the demo is not installed.
    """
    folder = folder.absolute()
    with ExitStack() as stack:
        stack.enter_context(prepared(folder))
        yield Told("A small server", "Its media are on a disk. Starting PostgreSQL and an object store.")
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        server = stack.enter_context(s3_server(folder / "s3"))
        network = stack.enter_context(fediverse())
        simulated = stack.enter_context(simulated_instance(folder, socket_dir, "4.5"))
        populate(simulated, network, _EACH)
        bucket = BucketMedia(server, _BUCKET)
        _let_strangers_read(server)
        to = _named(folder, server)
        state, env = folder / "state", simulated.env

        def now() -> Instance:
            return open_instance(env, state, {})

        def step(name: Step, *, apply: bool = False) -> Moved:
            options = MigrateOptions(
                name, to, apply=apply, write_test=name is Step.PLAN, deep_share=1.0, public_share=1.0
            )
            match name:
                case Step.FINISH:
                    return Moved(finish(now, options, progress), env, to)
                case Step.ROLLBACK:
                    return Moved(rollback(now(), options, progress), env, to)
                case _:
                    return Moved(migrate(now(), options, progress), env, to)

        yield Told("migrate plan", f"{to.name} names the bucket, in Mastodon's own words. What is there to move?")
        yield step(Step.PLAN)
        yield Told("migrate copy --apply", "The server goes on all the while.")
        yield step(Step.COPY, apply=True)
        _somebody_comes(simulated, 1)
        yield Told(
            "migrate copy --apply", "Somebody has followed a new account meanwhile. The second pass takes a moment."
        )
        yield step(Step.COPY, apply=True)
        yield Told("migrate verify", "All bytes on both sides, and all files as a stranger gets them.")
        yield step(Step.VERIFY)
        yield Told("migrate finish", "What has to change:")
        yield step(Step.FINISH)
        _somebody_comes(simulated, 2)
        _switch(simulated, to, bucket)
        yield Told(
            "migrate finish --apply", "The lines are changed, Mastodon was restarted. The last pass, and the proof:"
        )
        yield step(Step.FINISH, apply=True)
        yield Checked(check(now(), progress=progress), env)
        _somebody_comes(simulated, 3)
        yield Told("migrate rollback --apply", "And back: what has come since goes to the disk, too.")
        yield step(Step.ROLLBACK, apply=True)
        yield Running(env)


def _named(folder: Path, server: S3Server) -> Path:
    """The file that names the bucket."""
    to = folder / "bucket.env"
    to.write_text(
        f"S3_ENABLED=true\nS3_BUCKET={_BUCKET}\nS3_ENDPOINT={server.endpoint}\nS3_PROTOCOL=http\n"
        f"S3_HOSTNAME={server.endpoint.removeprefix('http://')}\nAWS_ACCESS_KEY_ID={server.access_key_id}\n"
        f"AWS_SECRET_ACCESS_KEY={server.secret_access_key}\n",
        encoding="utf-8",
    )
    to.chmod(0o600)
    return to


def _let_strangers_read(server: S3Server) -> None:
    """This store keeps no permissions: its policy says what is public, which is all that Mastodon shows."""
    shown = ("accounts", "cache", "custom_emojis", "media_attachments", "site_uploads")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{_BUCKET}/{name}/*" for name in shown],
            }
        ],
    }  # fmt: skip
    server.client().put_bucket_policy(Bucket=_BUCKET, Policy=json.dumps(policy))


def _somebody_comes(simulated: SimulatedInstance, number: int) -> None:
    simulated.add_image(
        AVATARS, picture(9_000 + number), username=f"new{number}", uri=f"https://example.social/new{number}"
    )


def _switch(simulated: SimulatedInstance, to: Path, bucket: BucketMedia) -> None:
    """What the admin does."""
    kept = [
        line for line in simulated.env.read_text(encoding="utf-8").splitlines() if not line.startswith("PAPERCLIP_")
    ]
    simulated.env.write_text("\n".join([*kept, to.read_text(encoding="utf-8")]), encoding="utf-8")
    simulated.media = bucket
