"""Sends files with tuspy: ``links_tuspy.py URL TOKEN FILE...``; goes on where the server is."""

import sys
import time
from pathlib import Path

from tusclient import client


def main() -> None:
    url, token, *files = sys.argv[1:]
    there = client.TusClient(url, headers={"Authorization": f"Bearer {token}"})
    for file in files:
        uploader = None
        while True:
            try:
                if uploader is None:
                    uploader = there.uploader(
                        file, metadata={"filename": Path(file).name}, retries=3, retry_delay=1
                    )
                else:
                    uploader.offset = uploader.get_offset()
                uploader.upload()
                break
            except Exception as error:  # noqa: BLE001 - whatever it was, it must go on
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                time.sleep(1)


if __name__ == "__main__":
    main()
