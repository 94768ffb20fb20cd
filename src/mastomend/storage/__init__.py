"""Where media are kept: narrow ports and their implementations for a disk, an object store and memory."""
