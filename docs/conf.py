"""How Sphinx makes a site of these pages: `make docs`."""

project = "halo-forge"
author = "the halo-forge authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "halo-forge"
myst_heading_anchors = 3  # headings are link targets, named as GitHub names them
