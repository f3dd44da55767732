import pytest

from ingest_server.auth.passwords import _NOBODYS, MOST_BYTES, fault_of, hashed, is_right

PASSWORD = "correct horse battery"


def test_a_password_is_known_by_its_hash_and_no_other_is():
    stored = hashed(PASSWORD, log_cost=4)

    assert is_right(PASSWORD, stored)
    assert not is_right(PASSWORD + " ", stored)
    assert not is_right("", stored)
    assert PASSWORD not in stored
    assert hashed(PASSWORD, log_cost=4) != stored


@pytest.mark.slow
def test_what_a_hash_costs_stands_beside_it_and_is_kept():
    assert hashed(PASSWORD, log_cost=4).startswith("$scrypt$ln=4,r=8,p=3$")
    now = hashed(PASSWORD)
    assert now.startswith("$scrypt$ln=15,r=8,p=3$")
    assert is_right(PASSWORD, now)


@pytest.mark.slow
def test_nobody_has_no_password():
    assert not is_right("", None)
    assert not is_right(PASSWORD, None)


@pytest.mark.slow
def test_looking_at_the_password_of_nobody_costs_what_a_new_users_does():
    parameters, salt, digest = _NOBODYS.rsplit("$", 2)
    new_parameters, new_salt, new_digest = hashed(PASSWORD).rsplit("$", 2)

    assert parameters == new_parameters
    assert (len(salt), len(digest)) == (len(new_salt), len(new_digest))


@pytest.mark.parametrize("stored", ["", "x", "$scrypt$ln=4,r=8$a$b", "$argon2id$v=19$m=1$a$b"])
def test_what_is_no_hash_of_ours_lets_nobody_in(stored):
    assert not is_right(PASSWORD, stored)


def test_a_password_is_the_same_however_a_keyboard_composes_it():
    assert is_right("cafe\u0301 au lait", hashed("caf\u00e9 au lait", log_cost=4))


@pytest.mark.parametrize(
    "password",
    [
        "",
        "ninechars",
        "x" * (MOST_BYTES + 1),
        "\u0627" * MOST_BYTES,
        "with\0a nul byte",
        "\udcff" * 12,
    ],
)
def test_what_is_no_password(password):
    assert fault_of(password)


@pytest.mark.parametrize(
    "password",
    [
        "tencharact",
        "\u0643\u0644\u0645\u0629 \u0627\u0644\u0633\u0631\u064a\u0629",
        "x" * MOST_BYTES,
    ],
)
def test_what_is_one(password):
    assert fault_of(password) is None
