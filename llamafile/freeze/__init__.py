"""The recipe that turns the packages into one executable: collect, compile, link the head, assemble."""
