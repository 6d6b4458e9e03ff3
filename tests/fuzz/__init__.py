"""Fuzzers: everything that reads bytes of strangers, driven by coverage, against a law or a second reader.

Each target is a module with `SEEDS`, from which the fuzzer starts, and `check(data)`, which raises where a law is
broken. `python -m tests.fuzz scanner --seconds 60` runs one; `make fuzz` runs all for long, `make test` each for a
moment.
"""
