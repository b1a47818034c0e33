"""Where the `peluche` command starts: Ctrl-C counts from here on, so imports come later."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is imported ends it without a word."""
    try:
        from peluche.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
