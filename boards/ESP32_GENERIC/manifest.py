# A firmware for ESP32_GENERIC with the agent frozen in:
#   make -C ports/esp32 BOARD=ESP32_GENERIC FROZEN_MANIFEST=/.../boards/ESP32_GENERIC/manifest.py

include("$(PORT_DIR)/boards/manifest.py")
include("../../manifest.py")
