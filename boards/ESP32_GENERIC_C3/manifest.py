# A firmware for ESP32_GENERIC_C3 with the agent frozen in:
#   make -C ports/esp32 BOARD=ESP32_GENERIC_C3 FROZEN_MANIFEST=/.../boards/ESP32_GENERIC_C3/manifest.py

include("$(PORT_DIR)/boards/manifest.py")
include("../../manifest.py")
