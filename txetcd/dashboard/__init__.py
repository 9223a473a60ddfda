"""A page to look at: the keys in a browser.

Its files are in `static`, as they are sent; what serves them is in `txetcd.dashboard.resource`.
"""
