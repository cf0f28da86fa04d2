"""Other machines that run the flat program: GPU modules, compiled on the user's machine by the user's toolchain."""
