import loopback_only  # noqa: F401  (importing it is what blocks)
