"""kill -9 ten times in the middle of a copy: it ends, and nothing is uploaded twice but for what was on its way."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from broken import record
from bucket_proxy import bucket_proxy
from conftest import MakeInstance, opened
from moving import named_bucket, named_file, step
from tool import driven

from mastomend.commands.history import history
from mastomend.commands.migrate import migrate
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server
from mastomend.mastodon.kinds import AVATARS

DRIVER = Path(__file__).parents[1] / "killed_migrate.py"
#: As many may be on their way when it dies.
CONNECTIONS = 32


def test_a_copy_that_is_killed_ten_times(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    instance = make_instance()
    for n in range(300):
        record(instance, AVATARS, picture(n % 7), domain="a.example", name=f"u{n}")
    _, bucket = named_bucket(tmp_path, s3, "killed")
    with bucket_proxy(s3.endpoint) as proxy:
        to = named_file(tmp_path, S3Server(proxy.endpoint, s3.access_key_id, s3.secret_access_key), "killed")
        for round_ in range(10):
            # past what tries the target, and a few files more each time
            process = driven(DRIVER, instance.env, 2 * (5 + 12 + round_), to)
            assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
            proxy.settle()
        uploads = Counter(
            seen.raw_path for seen in proxy.seen if seen.method == "PUT" and "/.mastomend/" not in seen.raw_path
        )
        before = len(bucket.keys() & set(instance.files))
        assert 10 < before < 300, before
        done = migrate(opened(instance), step("copy", to, apply=True))
        assert (done.failed, done.all.alike.files) == (0, before)
        uploads += Counter()
        after = Counter(
            seen.raw_path for seen in proxy.seen if seen.method == "PUT" and "/.mastomend/" not in seen.raw_path
        )
    twice = sum(after.values()) - len(instance.files)
    assert twice <= 10 * CONNECTIONS and sum(uploads.values()) <= before + 10 * CONNECTIONS
    assert all(bucket.read(key) == data for key, data in instance.files.items())
    assert bucket.keys() - set(instance.files) == {key for key in bucket.keys() if key.startswith(".mastomend/probe/")}
    assert next(one.state for one in history(opened(instance))) == "finished"
