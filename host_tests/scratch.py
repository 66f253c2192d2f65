"""A folder for one case, on any interpreter: MicroPython has no tempfile."""

import os


class Scratch:
    """Makes an empty folder; `with Scratch() as folder` removes it and all in it."""

    def __enter__(self):
        self.folder = "%s/heed-%s" % (os.getenv("TMPDIR") or "/tmp", os.urandom(6).hex())
        os.mkdir(self.folder)
        return self.folder

    def __exit__(self, *exc):
        remove(self.folder)


def remove(folder):
    """Remove a folder with all that is in it."""
    for name in os.listdir(folder):
        path = folder + "/" + name
        try:
            os.remove(path)
        except OSError:
            remove(path)
    os.rmdir(folder)
