"""Records and their ids."""

import pytest

from pipeline.contracts import (
    Chain,
    Document,
    Pair,
    Shot,
    chain_id,
    decode_chain,
    decode_document,
    document_id,
    encode,
    stable_share,
)
from pipeline.errors import InputError


def test_ids_are_what_they_were_when_shards_were_written() -> None:
    assert document_id("s", "text") == "35997f1abc4e194feb069495d7c2b5ab"
    assert document_id("s", "text") != document_id("st", "ext")
    assert chain_id(["a", "b"]) != chain_id(["b", "a"])


def test_records_round_trip() -> None:
    document = Document("1", "s", "Grüße\n", {"route": "convert"})
    assert decode_document(encode(document)) == document
    pairs = (Pair("q", "a"), Pair("q2", "x", "multiple_choice", ("x", "y")))
    chain = Chain("c", "s", (Shot("1", "text", pairs), Shot("2", "more", ())), {"k": "v"})
    assert decode_chain(encode(chain)) == chain


def test_stable_share_is_uniform_and_depends_on_the_salt() -> None:
    shares = [stable_share(str(number), "a") for number in range(4000)]
    assert 0.47 < sum(share < 0.5 for share in shares) / 4000 < 0.53
    assert stable_share("1", "a") != stable_share("1", "b")


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"1", b'{"id": "a"}', b'{"id": 1, "source": "s", "text": "t"}', b'{"x": 1}'],
)
def test_a_line_from_elsewhere_that_is_no_record_is_bad_input(line: bytes) -> None:
    with pytest.raises(InputError, match=r"which is no document of contract version \d"):
        decode_document(line)
    with pytest.raises(InputError, match=r"which is no chain of contract version \d"):
        decode_chain(line)
    with pytest.raises(InputError, match="which is no chain"):
        decode_chain(b'{"id": "a", "source": "s", "shots": [1], "provenance": {}}')
