"""`python -m hfcount`: the same as `hfcount`."""

from hfcount.cli import main

if __name__ == "__main__":  # a process that is spawned imports this file again
    main()
