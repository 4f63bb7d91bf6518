"""What `roost doctor` says of a server that may lose rows."""

import pytest

from roost.deployments.doctor import check_channels


def test_a_server_on_which_collections_may_share_channels_is_named_with_what_to_set() -> None:
    [check] = check_channels("v2.3.5", 17)
    assert (check.status, check.remedy) == ("note", "set rootCoord.dmlChannelNum of the server to 17 or more")
    assert check.found.startswith(
        "Milvus v2.3.5 has 17 collections; with fewer channels than that (16 by default, 128 "
    )


@pytest.mark.parametrize(("version", "collections"), [("v2.3.5", 16), ("v2.6.0", 90), ("milvus_lite-3.2.2", 90)])
def test_nothing_is_said_where_nothing_is_known_to_be_lost(version: str, collections: int) -> None:
    assert list(check_channels(version, collections)) == []
