"""The parts of `bench/device.py`."""
