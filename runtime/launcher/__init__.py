"""The head of a frozen executable: C that starts Python on the file's own members, and what it needs in Python."""
