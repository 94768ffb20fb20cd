"""A whole small instance on this machine, with a simulated fediverse around it. The tests use the same simulator.

Real are PostgreSQL, the storage and HTTP; simulated are only the other servers, which cannot be had otherwise.
"""
