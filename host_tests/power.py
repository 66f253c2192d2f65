"""A board's power and its file system, which fail at any operation that a test names."""

from errno import ENOENT, ENOSPC


class PowerCut(BaseException):
    """The power is gone: nothing of this life acts any more."""


class Life:
    """The time from one start of the board to its end."""

    def __init__(self, number):
        self.number = number
        self.dead = False

    def check(self):
        """Raise PowerCut if this life has ended."""
        if self.dead:
            raise PowerCut


class Disk:
    """Takes the place of `os` and, with `open`, of the file system in the journal.

    A file's content is there as it is written and a rename happens in one step.
    full: None, or the operation that is refused ("open", "write" or "rename")
    cut_in: None, or the number of the operation from now at which the power is cut
    """

    def __init__(self):
        self.files = {}
        self.folders = set()
        self.full = None
        self.cut_in = None
        self.life = None
        self._point = ""

    def arm(self, count, point):
        """Cut the power at the operation of this number, "before", "after" or in the "middle"."""
        self.cut_in, self._point = count, point

    def listdir(self, folder):
        """As os.listdir."""
        return self._operate(lambda: self._list(folder))

    def mkdir(self, folder):
        """As os.mkdir."""
        self._operate(lambda: self.folders.add(folder))

    def remove(self, path):
        """As os.remove."""
        self._operate(lambda: self.files.pop(path))

    def rename(self, old, new):
        """As os.rename on littlefs: takes the place of a file that is there."""
        self._operate(lambda: self._move(old, new))

    def open(self, path, mode="r"):
        """As open."""
        return self._operate(lambda: self._opened(path, mode))

    def write(self, path, text):
        """Append to a file; a cut in the middle leaves half of the text."""
        self._operate(
            lambda: self._append(path, text), lambda: self._append(path, text[: len(text) // 2])
        )

    def _operate(self, act, half=lambda: None):
        self.life.check()
        if self.cut_in is None:
            return act()
        self.cut_in -= 1
        if self.cut_in > 0:
            return act()
        {"before": lambda: None, "middle": half, "after": act}[self._point]()
        self.cut_in = None
        self.life.dead = True
        raise PowerCut

    def _refuse(self, operation):
        if self.full == operation:
            raise OSError(ENOSPC, "no space left")

    def _list(self, folder):
        if folder not in self.folders:
            raise OSError(ENOENT, folder)
        return [path[len(folder) + 1 :] for path in self.files if path.startswith(folder + "/")]

    def _move(self, old, new):
        self._refuse("rename")
        self.files[new] = self.files.pop(old)

    def _opened(self, path, mode):
        if "w" in mode:
            self._refuse("open")
            self.files[path] = ""
        elif path not in self.files:
            raise OSError(ENOENT, path)
        return _File(self, path)

    def _append(self, path, text):
        self._refuse("write")
        self.files[path] += text


class _File:
    def __init__(self, disk, path):
        self._disk = disk
        self._path = path

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def write(self, text):
        self._disk.write(self._path, text)

    def read(self):
        return self._disk.files[self._path]
