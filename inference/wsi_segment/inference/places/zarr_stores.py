"""What zarr reads by: a folder of this machine, a place on the network, and one whose metadata is yet to be put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from wsi_segment.inference.places.bucket_folder import is_bucket, object_folder


def zarr_store(path: Path) -> Store:
    """Return what zarr reads a path or an address by."""
    if isinstance(path, Path):
        return LocalStore(path, read_only=True)
    if is_bucket(path):
        return object_folder(path).zarr_store()
    return FsspecStore.from_url(str(path), storage_options=dict(path.storage_options), read_only=True)


class WithMetadata(WrapperStore[Store]):
    """A store with some whole files that are in memory alone."""

    def __init__(self, store: Store, files: Mapping[str, bytes] | None = None) -> None:
        """Put files, by key, before those of a store."""
        super().__init__(store)
        self._files = files or {}

    def _with_store(self, store: Store) -> WithMetadata:
        return type(self)(store, self._files)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file, or a part of one that is not in memory."""
        if byte_range is None and key in self._files:
            return prototype.buffer.from_bytes(self._files[key])
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return files, or parts of them."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether there is a file."""
        return key in self._files or await super().exists(key)
