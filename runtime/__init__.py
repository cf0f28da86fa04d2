"""The machine: tensor ops, number formats, and the C program that runs a flat list of ops on the CPU."""
