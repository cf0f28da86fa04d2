"""What `make bench` measures: the machine's limits first, then the engine and its tools beside them."""
