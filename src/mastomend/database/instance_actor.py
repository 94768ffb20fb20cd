"""The instance actor's key, to sign requests with: in its account row up to 4.6, encrypted in `keypairs` from 4.7."""

from __future__ import annotations

from collections.abc import Mapping

from mastomend.database.reader import MastodonDatabase
from mastomend.mastodon.encryption import UndecryptableError, decrypt

_ID = -99
_RSA = 0
_PREFIX = "ACTIVE_RECORD_ENCRYPTION_"


def actor_keys(
    database: MastodonDatabase, web_domain: str, variables: Mapping[str, str]
) -> tuple[list[tuple[str, str]], str]:
    """(key id, PEM) of the keys there are, the best first; and why there is none, should none of them be of use.

    Without one, servers in secure mode refuse to show their actors and notes.
    """
    actor = f"https://{web_domain}/actor"
    reason = "the instance actor has no private key"
    keys = []
    if "local_fragment" in database.table("keypairs").readable:
        rows = database.query(
            "SELECT local_fragment, private_key FROM keypairs WHERE account_id = %s AND type = %s AND NOT revoked "
            "AND (expires_at IS NULL OR expires_at > now()) AND private_key IS NOT NULL AND local_fragment IS NOT NULL "
            "ORDER BY id LIMIT 1",
            [_ID, _RSA],
        )
        for row in rows:
            try:
                pem = decrypt(
                    row["private_key"],
                    variables.get(f"{_PREFIX}PRIMARY_KEY", ""),
                    variables.get(f"{_PREFIX}KEY_DERIVATION_SALT", ""),
                )
            except UndecryptableError as error:
                reason = str(error)
                continue
            keys.append((actor + row["local_fragment"], pem))
    if "private_key" not in database.table("accounts").readable:
        return keys, "this user of the database may not read the instance actor's key"
    for row in database.query("SELECT private_key FROM accounts WHERE id = %s", [_ID]):
        if row["private_key"]:
            keys.append((f"{actor}#main-key", row["private_key"]))
    return keys, reason
