# Freezes the agent into a firmware, or makes it a library for `require`; see boards/.

metadata(
    description="Heed: a command agent. At most once, never late, always answered.",
    version="0.1.0",
    license="MIT",
    author="Heed contributors",
)

require("umqtt.simple")

package("agent")
