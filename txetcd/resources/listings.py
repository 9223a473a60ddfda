"""The latest listings as they were sent, for those who ask again before anything has changed.

A directory in the tree never changes, so what was made of it once holds for ever; after a write below it
there is another one in its place.  Only a ttl counts down by itself: listings that show one are not kept.

A directory is kept with its listing, and with it all that was below it at that time.  So there is one of each
key at most, and none of directories that have more in them than the listing shows.
"""

from __future__ import annotations

from collections import OrderedDict

from txetcd.tree import Dir

# Bytes of listings that are kept; the ones that were asked for longest ago go first.
ROOM = 16 * 1024 * 1024
# Bytes below which a listing is made anew as fast as it is looked up.
SMALL = 4096

# They stand in the text for a key with a ttl and for a directory, and nowhere else: in keys and values quotes
# are escaped.
EXPIRATION = b',"expiration":"'
_DIRECTORY = b',"dir":true'

_Key = tuple[str, bool, bool]


class Listings:
    """Listings by the key of the directory, whether they are recursive, and whether they are compressed.

    @param room: bytes of all that are kept.
    @ivar size: bytes of those that are.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.size = 0
        self._room = room
        self._kept: OrderedDict[_Key, tuple[Dir, bytes]] = OrderedDict()

    def get(self, directory: Dir, recursive: bool, compressed: bool) -> bytes | None:
        """The listing of this very directory, if it is there."""
        key = (directory.key, recursive, compressed)
        kept = self._kept.get(key)
        if kept is None or kept[0] is not directory:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def keep(self, directory: Dir, recursive: bool, listing: bytes) -> None:
        """Keep a listing that is not compressed, if it is worth it."""
        self._drop((directory.key, recursive, True))
        self._drop((directory.key, recursive, False))
        shown_whole = recursive or listing.count(_DIRECTORY, listing.find(b"[")) == 0
        if len(listing) >= SMALL and shown_whole and EXPIRATION not in listing:
            self._put((directory.key, recursive, False), directory, listing)

    def keep_compressed(self, directory: Dir, recursive: bool, listing: bytes) -> None:
        """Keep the compressed form of a listing, if that itself is kept."""
        if self.get(directory, recursive, False) is not None:
            self._put((directory.key, recursive, True), directory, listing)

    def _put(self, key: _Key, directory: Dir, listing: bytes) -> None:
        self._kept[key] = (directory, listing)
        self.size += len(listing)
        while self.size > self._room:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        _, listing = self._kept.pop(key, (None, b""))
        self.size -= len(listing)
