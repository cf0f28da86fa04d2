"""Speculation: tokens guessed ahead ride in the same pass, and are kept only where the sampler draws just these."""
