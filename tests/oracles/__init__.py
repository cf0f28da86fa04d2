"""Independent programs and references that the tests compare the engine with; none of them is part of the product."""
