"""Tests of what lies on devices beside the CPU: placement, segments, the loader, real cards."""
