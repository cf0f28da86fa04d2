"""Independent programs and references that the tests compare the engine with; none of them is part of the product.

`llama_cpp` asks a prebuilt llama.cpp, `make_logits` asks transformers (its answers for the made-up models of `tiny` are
kept in data/), `numpy_llama` computes in F32. `make_greedy` and `make_perplexity` keep llama.cpp's answers in data/, so
that most tests need neither npm nor torch.
"""
