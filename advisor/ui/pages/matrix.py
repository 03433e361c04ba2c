"""Matrix: memory of each model in each format, with the cache for the chosen context."""

from __future__ import annotations

from advisor.ui.matrix_view import matrix_page
from advisor.ui.widgets import page_header

page_header("matrix")
matrix_page()
