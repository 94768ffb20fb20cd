"""`python -m mastomend`."""

from mastomend.cli.app import main

main()
