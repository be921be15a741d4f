"""Models, their variables and their initialization."""
