"""Folders whose names are labels: which files lie in one, and which only beside them."""

from __future__ import annotations

import re

from rnnctl.data.sources import Layout, Source, listed
from rnnctl.results.base import Warning_

# IMDb's archive keeps texts without labels beside pos/ and neg/.
_NO_LABEL = re.compile(r"unsup(ervised)?|unlabell?ed", re.IGNORECASE)


def in_label_folders(layout: Layout) -> tuple[set[str], tuple[Warning_, ...]]:
    """The names of the files that lie in folders of labels, and what is said of the others.

    Where a folder has folders of files, those are the labels, and files beside them have none.
    """
    files = [file for group in layout.values() for file in group]
    parents = {file.folder for file in files if not _is_direct(file)}
    beside = [file for file in files if _is_direct(file) and file.folder in parents]
    without = [file for file in files if _NO_LABEL.fullmatch(file.path.parent.name)]
    left = {file.name for file in (*beside, *without)}
    folders = dict.fromkeys(f"{file.path.parent}/" for file in without)
    names = [*folders, *(file.name for file in beside)]
    text = f"left out, for they are in no folder of a label: {listed(names)}"
    warnings = (Warning_(code="no_label_folder", text=text),) if left else ()
    return {file.name for file in files} - left, warnings


def _is_direct(file: Source) -> bool:
    """Whether it lies in the very folder that was given."""
    return file.path.parent == file.folder
