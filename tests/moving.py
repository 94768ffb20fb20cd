"""Storages to move to, as an admin names them, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from mastomend.commands.migrate_report import MigrateOptions, Step
from mastomend.commands.migration import Named
from mastomend.demo.instance import BucketMedia, Media, SimulatedInstance
from mastomend.demo.services import S3Server


def bucket_variables(server: S3Server, bucket: str, **more: str) -> dict[str, str]:
    """What goes into `.env.production` for that bucket."""
    return {
        "S3_ENABLED": "true",
        "S3_BUCKET": bucket,
        "S3_ENDPOINT": server.endpoint,
        "S3_PROTOCOL": "http",
        "S3_HOSTNAME": server.endpoint.removeprefix("http://"),
        "AWS_ACCESS_KEY_ID": server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
        **more,
    }


def named_bucket(folder: Path, server: S3Server, bucket: str, **more: str) -> tuple[Path, Media]:
    """A file that names a new bucket, and what is in it."""
    return named_file(folder, server, bucket, **more), BucketMedia(server, bucket)


def named_file(folder: Path, server: S3Server, bucket: str, **more: str) -> Path:
    """A file that names a bucket which is there."""
    path = folder / f"{bucket}.env"
    lines = (f"{name}={value}" for name, value in bucket_variables(server, bucket, **more).items())
    path.write_text("\n".join(lines) + "\n")
    return path


def shown_here(instance: SimulatedInstance) -> SimulatedInstance:
    """Files of its disk have addresses on this machine, where nobody answers: nothing is asked of anybody else."""
    instance.env.write_text(f"{instance.env.read_text()}PAPERCLIP_ROOT_URL=http://127.0.0.1:9/system\n")
    return instance


def switch(instance: SimulatedInstance, variables: dict[str, str], media: Media) -> None:
    """What the admin does: the old lines go, the new ones come."""
    storage = ("S3_", "AWS_", "PAPERCLIP_", "AZURE_")
    kept = [line for line in instance.env.read_text().splitlines() if not line.startswith(storage)]
    instance.env.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in variables.items())]) + "\n")
    instance.media = media


def step(name: str, to: Path | Named, **options: Any) -> MigrateOptions:
    """A step with those options."""
    return MigrateOptions(Step(name), to, **options)


def stranger(url: str) -> int:
    """The status somebody without a key gets."""
    try:
        with urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
