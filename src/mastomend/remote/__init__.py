"""Everything that talks to strangers: guarded addresses, politeness, limits."""
