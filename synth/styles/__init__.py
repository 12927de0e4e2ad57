"""Task styles of the `chat` protocol: each a small TOML that can be copied; see `library`."""
