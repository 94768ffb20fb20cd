"""Where a lost file can come from, one module a source."""
