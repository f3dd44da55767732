"""One upload by tuspy, in an environment of its own. The only argument is JSON."""

import json
import sys

from tusclient import client
from tusclient.storage import filestorage

asked = json.loads(sys.argv[1])
made = client.TusClient(asked["endpoint"], headers={"Authorization": f"Bearer {asked['token']}"})
storage = filestorage.FileStorage(asked["memory"])
uploader = made.uploader(
    asked["path"],
    chunk_size=asked["chunk_size"],
    metadata={"filename": asked["path"].rpartition("/")[2], "sha256": asked["sha256"]},
    store_url=True,
    url_storage=storage,
    retries=20,
    retry_delay=0.2,
    upload_checksum=asked.get("checksum", False),
)
print(f"starts {uploader.offset}", flush=True)
stop = uploader.get_file_size()
if not stop:
    uploader.upload()  # of an empty file there is no chunk to send
while uploader.offset < stop:
    uploader.upload_chunk()
    print(f"sent {uploader.offset}", flush=True)
