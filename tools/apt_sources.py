"""Reads the machine's apt configuration: where its own distribution comes from, who signs it.

Formats: sources.list(5), both the one-line form (`.list`) and deb822 (`.sources`).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ETC = Path("/etc/apt")


@dataclass(frozen=True)
class Source:
    """One place packages come from; options by their deb822 names in lower case."""

    uri: str
    suites: list[str]
    components: list[str]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def signed_by(self) -> str:
        return self.options.get("signed-by", "")


def read(etc: Path = ETC) -> list[Source]:
    """All binary sources of the machine, in apt's own order of files."""
    found: list[Source] = []
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            parse = parse_deb822 if file.suffix == ".sources" else parse_lines
            found += parse(file.read_text(errors="replace"))
    return found


def parse_lines(text: str) -> list[Source]:
    """`deb [option=value ...] uri suite component ...`, one a line; the rest is passed over."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            pairs = [word.partition("=")[::2] for word in (options or "").split()]
            named = {key.lower(): value for key, value in pairs}
            found.append(Source(uri, [suite], components.split(), named))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Stanzas of `Field: value`; a line that begins with a space goes on with the value."""
    found = []
    # Comment lines are dropped first: one may stand in the middle of a stanza.
    text = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            key.lower(): value.strip()
            for key, value in re.findall(r"(?m)^([\w-]+):(.*(?:\n[ \t].*)*)", stanza)
        }
        found += _from_stanza(fields)
    return found


def _from_stanza(fields: dict[str, str]) -> list[Source]:
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "").lower() == "no":
        return []
    suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
    return [Source(uri, suites, components, fields) for uri in fields.get("uris", "").split()]


def own(sources: list[Source], distribution: str, codename: str) -> Source | None:
    """The source of the distribution itself: it serves the machine's release, `main` included,
    and is signed by the distribution's keyring or by apt's default ones.

    distribution: `debian` or `ubuntu`. codename: the machine's release, `bookworm` for example.
    """
    for source in sources:
        key = source.signed_by
        ours = f"{distribution}-archive-keyring" in key
        if not key:  # without a keyring named, the last word of the address has to do
            ours = re.search(rf"/{distribution}(-ports)?/?$", source.uri) is not None
        if ours and codename in source.suites and "main" in source.components:
            return source
    return None
