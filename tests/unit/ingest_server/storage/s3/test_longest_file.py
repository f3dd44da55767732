"""How long a file in a bucket may be."""

import pytest

from ingest_server.assembly.bytes_place import bucket_of
from ingest_server.config import load
from ingest_server.core.errors import SettingError
from tests.support.processes import toml


def test_a_longer_file_than_names_of_pieces_can_say_is_refused_with_the_setting(tmp_path):
    tables = {"limits": {"max_length": "1000TB"}, "storage": {"blobs": "s3://recordings/x"}}
    config = tmp_path / "long.toml"
    config.write_text(toml(tables))

    with pytest.raises(SettingError, match=r"\[limits\] max_length is 1000000000000000 bytes"):
        bucket_of(load(config, environ={}))
