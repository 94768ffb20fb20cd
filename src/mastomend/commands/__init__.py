"""One use-case a module: each builds what it needs, yields or returns results, and knows no terminal."""
