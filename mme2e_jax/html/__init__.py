"""Building blocks of the HTML pages: frame, tables, drawings, embedded images."""
