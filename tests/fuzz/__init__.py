"""Coverage-guided fuzzing of what reads clients' bytes.

It needs atheris, which nothing else does::

    pip install atheris
    python -m tests.fuzz channel -max_total_time=300
    python -m tests.fuzz query -max_total_time=300

What follows the name goes to libFuzzer: its options, and directories of inputs to begin with and to add to.
"""
