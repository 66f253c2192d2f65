"""apt's configuration, as machines have it, and what is fetched from where."""

import subprocess

import pytest

from tools import apt_sources, debian
from tools.report import Problem

DEB822 = """
Types: deb
# a comment in the middle of a stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://switched-off.example/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

THIRD_PARTY = """
Types: deb
URIs: https://other.example/linux/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGJ=
 -----END PGP PUBLIC KEY BLOCK-----
"""

LINES = """
# deb http://commented.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/other.gpg] http://other.example/debian bookworm main
deb [ check-valid-until=no ] http://mirror.example/debian/ bookworm main contrib # ours
deb http://security.example/debian-security bookworm-security main
"""

UBUNTU = """
deb http://packages.example/ubuntu noble-updates main universe
deb http://ports.example/ubuntu-ports noble main restricted
"""

BOOKWORM = debian.Release("debian", 12, "bookworm")


def test_deb822_own_source_is_found():
    source = apt_sources.own(apt_sources.parse_deb822(DEB822), "debian", "bookworm")
    assert source.uri == "http://mirror.example/debian"
    assert source.components == ["main", "contrib"]
    assert source.signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_deb822_leaves_out_sources_and_what_is_switched_off():
    uris = [source.uri for source in apt_sources.parse_deb822(DEB822)]
    assert uris == ["http://mirror.example/debian", "http://mirror.example/debian-security"]


def test_deb822_with_a_key_inside_is_somebody_elses():
    sources = apt_sources.parse_deb822(THIRD_PARTY)
    assert "mQINBGJ" in sources[0].signed_by
    assert apt_sources.own(sources, "debian", "bookworm") is None


def test_lines_own_source_is_found():
    source = apt_sources.own(apt_sources.parse_lines(LINES), "debian", "bookworm")
    assert source.uri == "http://mirror.example/debian/"
    assert source.components == ["main", "contrib"]
    assert source.options == {"check-valid-until": "no"}


def test_lines_of_ubuntu_ports():
    source = apt_sources.own(apt_sources.parse_lines(UBUNTU), "ubuntu", "noble")
    assert source.uri == "http://ports.example/ubuntu-ports"


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/other.sources").write_text(THIRD_PARTY)
    return tmp_path


def test_source_for_an_older_debian_names_the_later_suite(etc):
    (etc / "sources.list.d/debian.sources").write_text(DEB822)
    assert debian._source_text(BOOKWORM, etc).splitlines() == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: trixie",
        "Components: main",
        "signed-by: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]


def test_source_from_a_list_keeps_its_options(etc):
    (etc / "sources.list").write_text(LINES)
    text = debian._source_text(debian.Release("debian", 12, "bookworm"), etc)
    assert "URIs: http://mirror.example/debian/\n" in text
    assert "check-valid-until: no\n" in text


def test_no_source_of_its_own_is_said(etc):
    with pytest.raises(Problem, match="no source of debian bookworm itself"):
        debian._source_text(BOOKWORM, etc)


@pytest.mark.parametrize(
    ("facts", "suite"),
    [
        ({"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"}, "trixie"),
        ({"ID": "debian", "VERSION_ID": "13", "VERSION_CODENAME": "trixie"}, "trixie"),
        ({"ID": "debian", "VERSION_ID": "14", "VERSION_CODENAME": "forky"}, "forky"),
        ({"ID": "debian", "VERSION_CODENAME": "forky"}, "forky"),
        ({"ID": "ubuntu", "VERSION_ID": "24.04", "VERSION_CODENAME": "noble"}, "resolute"),
        ({"ID": "ubuntu", "VERSION_ID": "26.10", "VERSION_CODENAME": "next"}, "next"),
        ({"ID": "linuxmint", "VERSION_ID": "22", "UBUNTU_CODENAME": "noble"}, "resolute"),
    ],
)
def test_suite_is_the_first_with_a_useful_micropython(facts, suite):
    assert debian.suite(debian.parse_release(facts)) == suite


def make_package(folder):
    """A Debian package with one file in it."""
    (folder / "p/DEBIAN").mkdir(parents=True)
    lines = ("Package: small", "Version: 1", "Architecture: all", "Maintainer: N <n@m.example>")
    text = "\n".join((*lines, "Description: x")) + "\n"
    (folder / "p/DEBIAN/control").write_text(text)
    (folder / "p/usr/bin").mkdir(parents=True)
    (folder / "p/usr/bin/small").write_text("whole")
    subprocess.run(["dpkg-deb", "-b", folder / "p", folder / "small.deb"], check=True)
    return folder / "small.deb"


def test_unpacked_folder_is_whole_or_not_there(tmp_path):
    package, root = make_package(tmp_path), tmp_path / "root"
    broken = tmp_path / "broken.deb"
    broken.write_bytes(package.read_bytes()[:300])
    with pytest.raises(Problem, match=r"unpacking broken\.deb failed"):
        debian._unpack([package, broken], root)
    assert not root.exists()
    (tmp_path / "root.part/left-over").touch()
    debian._unpack([package], root)
    assert (root / "usr/bin/small").read_text() == "whole"
    assert not (root / "left-over").exists()


def test_loader_is_found_in_both_layouts(tmp_path):
    merged, split = tmp_path / "merged", tmp_path / "split"
    for folder in (merged / "usr/lib/x-linux-gnu", split / "lib/x-linux-gnu"):
        folder.mkdir(parents=True)
        (folder / "ld-linux-x.so.2").touch()
    (split / "usr/lib/x-linux-gnu").mkdir(parents=True)
    library = merged / "usr/lib/x-linux-gnu"
    expected = [str(library / "ld-linux-x.so.2"), "--library-path", str(library)]
    assert debian._loader(merged) == expected
    both = f"{split}/lib/x-linux-gnu:{split}/usr/lib/x-linux-gnu"
    assert debian._loader(split)[1:] == ["--library-path", both]
    with pytest.raises(Problem, match="no dynamic loader"):
        debian._loader(tmp_path / "empty")


def test_word_sizes_by_the_machines_architecture(monkeypatch):
    def answer(name):
        done = subprocess.CompletedProcess([], 0, name + "\n")
        monkeypatch.setattr(debian.subprocess, "run", lambda *_, **__: done)

    answer("arm64")
    assert [debian.architecture(bits) for bits in (None, 64, 32)] == ["arm64", "arm64", "armhf"]
    answer("riscv64")
    with pytest.raises(Problem, match="no 32-bit Debian packages for riscv64"):
        debian.architecture(32)


def test_other_systems_are_named():
    with pytest.raises(Problem, match="Fedora"):
        debian.parse_release({"ID": "fedora", "NAME": "Fedora Linux"})
