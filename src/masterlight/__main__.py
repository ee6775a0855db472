"""`python -m masterlight` is the command line."""

from masterlight.doors.cli import main

if __name__ == "__main__":
    main(prog_name="masterlight")
