"""A flash file system: a folder of the host's, with the size of a board's."""

import io
import os

_BLOCK = 4096
_ENOSPC = 28  # the unix port's errno has no such name
_DIRECTORY = 0x4000


def exists(path):
    """Whether there is a file or folder of this name."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _blocks(size):
    return (size + _BLOCK - 1) // _BLOCK


class File(io.IOBase):
    """A file open for writing, which may find the disk full."""

    def __init__(self, disk, file, size):
        self._disk = disk
        self._file = file
        self._size = size  # what it will be at least
        for name in ("read", "readinto", "readline", "seek", "tell", "flush", "close"):
            setattr(self, name, getattr(file, name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __iter__(self):
        return iter(self._file)

    def write(self, data):
        added = len(data.encode() if isinstance(data, str) else data)
        self._disk.reserve(_blocks(self._size + added) - _blocks(self._size))
        self._size += added
        return self._file.write(data)

    def ioctl(self, request, arg):
        if request == 4:  # MP_STREAM_CLOSE
            self._file.close()
        return 0


# Where modules that are frozen into a firmware are found; no listing shows it.
FROZEN = "/.firmware"


class Disk:
    """What `vfs.mount` takes.

    files: a VfsPosix; size: in bytes; frozen: a VfsPosix with the modules below FROZEN, or None
    As littlefs has it, a file takes whole blocks and a folder two.
    """

    def __init__(self, files, size, frozen):
        self._files = files
        self._frozen = frozen
        self._blocks = size // _BLOCK
        self._free = 0
        for name in ("chdir", "getcwd", "remove", "rmdir"):
            setattr(self, name, getattr(files, name))

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def open(self, path, mode):
        if not any(letter in mode for letter in "wax+"):
            files, path = self._place(path)
            return files.open(path, mode)
        self._free = self._count_free()
        file = self._files.open(path, mode)
        return File(self, file, self.stat(path)[6])

    def stat(self, path):
        files, path = self._place(path)
        return files.stat(path)

    def _place(self, path):
        if self._frozen and path.startswith(FROZEN):
            return self._frozen, path[len(FROZEN) :] or "/"
        return self._files, path

    def rename(self, old, new):
        # VfsPosix has one buffer for absolute names, and would rename the new one to itself.
        here = self._files.getcwd()
        self._files.chdir("/")
        try:
            names = [name if name[0] == "/" else here + "/" + name for name in (old, new)]
            self._files.rename(*[name.lstrip("/") for name in names])
        finally:
            self._files.chdir(here or "/")

    def mkdir(self, path):
        self._free = self._count_free()
        self.reserve(2)
        self._files.mkdir(path)

    def ilistdir(self, path):
        entries = [entry[:2] for entry in self._files.ilistdir(path)]
        return iter([(name, kind, 0, self._size(path, name, kind)) for name, kind in entries])

    def statvfs(self, path):
        free = self._count_free()
        return (_BLOCK, _BLOCK, self._blocks, free, free, 0, 0, 0, 0, 255)

    def reserve(self, blocks):
        """Take blocks for what is about to be written, or raise ENOSPC."""
        if blocks > self._free:
            # Files may have been removed since one was opened.
            self._free = self._count_free()
        if blocks > self._free:
            raise OSError(_ENOSPC)
        self._free -= blocks

    def _size(self, folder, name, kind):
        if kind == _DIRECTORY:
            return 0
        return self.stat(folder.rstrip("/") + "/" + name if folder else name)[6]

    def _count_free(self):
        return max(self._blocks - self._count("/"), 0)

    def _count(self, folder):
        used = 2
        for name, kind, *_ in self._files.ilistdir(folder):
            if kind == _DIRECTORY:
                used += self._count(folder + name + "/")
            else:
                used += _blocks(self._files.stat(folder + name)[6])
        return used
