"""A copy that is killed at the n-th upload. Run by test_kill_migrate.py."""

from __future__ import annotations

import sys
from pathlib import Path

from killing import around
from moving import step

from mastomend.commands.instance import open_instance
from mastomend.commands.migrate import migrate
from mastomend.storage.s3_bucket import S3Bucket

S3Bucket.put = around(S3Bucket.put)  # type: ignore[method-assign]
instance = open_instance(Path(sys.argv[1]), Path(sys.argv[1]).parent / "state", {})
migrate(instance, step("copy", Path(sys.argv[3]), apply=True))
