"""A client written after frago's page."""

from tests.support.compat_site import (
    md5,
    recording,
)

BASE = "/compat/frago/upload/"
DATA = recording(300_000)
CHUNK = 70_000


class Frago:
    """The three calls of the page."""

    def __init__(self, client, data=DATA, name="video.mp4", headers=None):
        self.client, self.data, self.headers = client, data, headers or {}
        answer = client.post(
            BASE, json={"filename": name, "total_size": len(data)}, headers=self.headers
        )
        assert answer.status_code == 201, answer.text
        self.started = answer.json()
        self.url = f"{BASE}{self.started['upload_id']}/"

    def put(self, start, stop, data=None, total=None, **headers):
        total = len(self.data) if total is None else total
        where = {"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers, **self.headers}
        content = self.data[start:stop] if data is None else data
        return self.client.put(self.url, headers=where, files={"file": ("blob", content)})

    def put_form(self, body, stop, boundary):
        """Send the first *stop* bytes as a form that the test has written itself."""
        where = {
            "Content-Range": f"bytes 0-{stop - 1}/{len(self.data)}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        return self.client.put(self.url, content=body, headers=where)

    def put_all(self):
        for start in range(0, len(self.data), CHUNK):
            answer = self.put(start, min(start + CHUNK, len(self.data)))
            assert answer.status_code == 200, answer.text

    def finish(self, checksum=None, algo=None, **more):
        document = {"checksum": checksum or md5(self.data), **more}
        if algo:
            document["checksum_algo"] = algo
        return self.client.post(self.url, json=document, headers=self.headers)

    def show(self):
        return self.client.get(self.url, headers=self.headers).json()
