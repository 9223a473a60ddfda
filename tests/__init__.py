"""The tests; a package, so that both `trial tests` and `pytest` find them."""

import signal

# A shell ignores SIGINT for what it runs in the background; servers that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
