"""The product: architectures, tokens, sampling, sessions, bundles, tools."""

VERSION = "0.1.0"
