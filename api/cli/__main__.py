"""`python -m api.cli` is `tallystick`."""

from api.cli import main

main()
