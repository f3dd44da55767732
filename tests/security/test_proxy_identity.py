"""Who may say for another who it is: nobody but the proxy that the configuration names."""

import pytest

from tests.security.test_threat_rows_dialects import TUS
from tests.support.secured import create, secured

SECRET = "a-secret-of-enough-bytes"
CLAIM = {"X-Client-Verify": "SUCCESS", "X-Client-DN": "CN=drone-1"}
REACHED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example:8443"}


@pytest.mark.parametrize("trusts", [True, False])
def test_row_25_a_client_that_words_a_proxys_headers_is_nobody(tmp_path, trusts):
    with secured(tmp_path, server={"trust_proxy": trusts}) as site:
        client = site.client()
        answers = [
            client.get("/v1?nonce=n", headers={**CLAIM, "X-Proxy-Secret": SECRET}),
            client.get("/v1?nonce=n", headers={**CLAIM, "X-Proxy-Secret": ""}),
            client.get("/v1?nonce=n", headers={**CLAIM, "X-Real-IP": "127.0.0.1"}),
        ]
        client.headers.update(CLAIM)
        answers.append(create(client))

    assert [answer.status_code for answer in answers] == [401] * 4


def test_row_25_whoever_knows_the_secret_is_believed_and_the_start_says_so(tmp_path, capsys):
    (tmp_path / "proxy.secret").write_text(f"{SECRET}\n")
    with secured(tmp_path, server={"proxy_secret_file": "proxy.secret"}) as site:
        started = capsys.readouterr().out
        client = site.client()
        wrong = client.get("/v1?nonce=n", headers={**CLAIM, "X-Proxy-Secret": SECRET[:-1] + "x"})
        right = client.get("/v1?nonce=n", headers={**CLAIM, "X-Proxy-Secret": SECRET, **REACHED})

    assert (wrong.status_code, right.status_code) == (401, 200)
    assert right.json()["device"] == "drone-1"
    assert "proxy.identity_trusted" in started


@pytest.mark.parametrize(
    ("name", "forged", "own"),
    [
        ("X-Client-DN", "CN=drone-1,O=\\", "CN=drone-2"),  # escapes the comma that joins them
        ("X-Client-DN", "CN=drone-1", "O=a certificate without a name"),
        ("X-Client-DN", "CN=drone-1", ""),
        ("X-Client-Verify", "SUCCESS", "SUCCESS"),
        ("X-Proxy-Secret", SECRET, SECRET),
    ],
)
def test_row_25_behind_a_proxy_that_adds_its_headers_to_a_clients_nobody_is_believed(
    tmp_path, name, forged, own
):
    (tmp_path / "proxy.secret").write_text(SECRET)
    rest = {**CLAIM, "X-Proxy-Secret": SECRET}
    del rest[name]
    with secured(tmp_path, server={"proxy_secret_file": "proxy.secret"}) as site:
        both = [*rest.items(), (name, forged), (name, own)]
        answer = site.client().get("/v1?nonce=n", headers=both)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")
    assert "comes twice" in answer.json()["detail"]


def test_a_link_is_as_the_proxy_says_or_relative_where_it_says_nothing(tmp_path):
    with secured(tmp_path, server={"trust_proxy": True}) as site:
        client = site.device()
        length = {**TUS, "Upload-Length": "5"}
        whole = client.post("/files/", headers={**length, **REACHED, "X-Forwarded-Prefix": "/in"})
        slashed, plain = (client.post(path, headers=length) for path in ("/files/", "/files"))
        native = create(client)

        for answer in (slashed, plain, native):
            url = answer.request.url.join(answer.headers["Location"])
            assert client.get(url).status_code in {200, 405}  # tus has HEAD only
            assert "://" not in answer.headers["Location"]

    assert whole.headers["Location"].startswith("https://a.example:8443/in/files/")
