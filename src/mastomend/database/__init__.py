"""PostgreSQL: how it is reached, what of it can be seen, rows by id in batches, guarded changes, locks."""
