"""Whose access key a bucket is asked with: Mastodon's own, or where it has none, what AWS's own chain finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mastomend.errors import ConfigurationError
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.storage.sigv4 import Credentials


def credentials_of(settings: S3Storage) -> Callable[[], Any]:
    """What gives the access key: Mastodon's own, or where there is none, AWS's chain, as its SDK does."""
    if settings.access_key_id:
        fixed = Credentials(settings.access_key_id, settings.secret_access_key.reveal())

        async def own() -> Credentials:
            return fixed

        return own

    chain: list[Any] = []

    def find() -> Credentials:
        try:
            import botocore.session
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError:
            raise ConfigurationError(
                f"{settings}: AWS_ACCESS_KEY_ID is not set, and to ask AWS's own chain for keys botocore is needed.",
                hint="Set the key in .env.production, or install it where Mastomend is: pip install 'mastomend[aws]'.",
            ) from None
        try:
            if not chain:
                chain.append(botocore.session.get_session().get_credentials())
            frozen = chain[0].get_frozen_credentials() if chain[0] is not None else None
        except BotoCoreError as error:
            raise ConfigurationError(
                f"{settings}: AWS's credential chain fails ({type(error).__name__}).",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or check the role of this machine.",
            ) from None
        if frozen is None or not frozen.access_key:
            raise ConfigurationError(
                f"{settings}: there are no credentials: AWS_ACCESS_KEY_ID is not set, and AWS's own chain has none.",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env.production.",
            )
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    async def found() -> Credentials:
        return await asyncio.get_running_loop().run_in_executor(None, find)

    return found
