"""PocketXL's stages. Nothing that they use reports to anybody: OpenVINO, NNCF and the Hub's client would, unasked."""

import os
import sys

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NNCF_TELEMETRY", "0")
# As if it were not installed, which OpenVINO allows for. It would start a process for every event, each a copy of one
# that is converting gigabytes, and call a server.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
