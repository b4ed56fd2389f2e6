"""`python -m medgraph` is `medgraph`."""

from medgraph.cli import main

if __name__ == "__main__":
    main()
