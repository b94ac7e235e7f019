"""Files that are whole or not there."""

import tempfile
from pathlib import Path


def put(file: Path, data: bytes) -> None:
    """Write a file, or replace it, at once for all who read it in this moment. Raises OSError, and leaves nothing."""
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        try:
            part.write(data)
            part.close()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink(missing_ok=True)
            raise
