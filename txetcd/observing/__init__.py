"""What a server shows of itself: figures for `/metrics`, a line for each request, a line for each write.

Nothing here decides anything.  A request pays for a few additions, and for a line only if somebody asked.
"""
