# A firmware for the Raspberry Pi Pico W with the agent frozen in:
#   make -C ports/rp2 BOARD=RPI_PICO_W FROZEN_MANIFEST=/.../boards/RPI_PICO_W/manifest.py

include("$(PORT_DIR)/boards/RPI_PICO_W/manifest.py")
include("../../manifest.py")
