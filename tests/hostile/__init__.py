"""Hostile clients, against real server processes, with a good client that measures how it fares meanwhile.

The long run takes some minutes and prints a table: for each attack the good client's worst answer, and
memory and descriptors of the server before and after::

    python -m tests.hostile
    python -m tests.hostile --hold 30 slowloris watchers

`tests.test_hostile` is a short one.
"""
