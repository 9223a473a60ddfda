"""The tests; a package, so that both `trial tests` and `pytest` find them."""
