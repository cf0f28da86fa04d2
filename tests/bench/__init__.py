"""What `make bench` measures: the machine's limits first, then the engine beside them; `python -m tests.bench --help`."""
