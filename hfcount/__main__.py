"""`python -m hfcount`: the same as `hfcount`."""

from hfcount.cli import main

main()
