"""The Python twin of the command line: the same names, the same numbers, errors as exceptions."""
