"""`python -m diffuserve.cli` is `diffuserve`."""

from diffuserve.cli import main

main()
