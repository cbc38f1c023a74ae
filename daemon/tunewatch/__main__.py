"""`python -m tunewatch`: the command line."""

from tunewatch.cli import main

if __name__ == "__main__":
    main()
