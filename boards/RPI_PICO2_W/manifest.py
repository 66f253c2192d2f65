# A firmware for the Raspberry Pi Pico 2 W with the agent frozen in:
#   make -C ports/rp2 BOARD=RPI_PICO2_W FROZEN_MANIFEST=/.../boards/RPI_PICO2_W/manifest.py

include("$(PORT_DIR)/boards/RPI_PICO2_W/manifest.py")
include("../../manifest.py")
