"""The engine against its oracles: logits, long greedy texts, perplexity, and the same bits however the work is cut."""
