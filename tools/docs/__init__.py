# SPDX-License-Identifier: GPL-2.0
"""The book: listing.py code out of a chapter's tree; source.py Markdown and what its blocks become; build.py pages, PDF,
EPUB and decks; record.py what commands print."""
