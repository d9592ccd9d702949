"""Who may ask for what, and how a refusal looks."""

import pytest

from standin import Account, Standin
from tests.contract.calls import (
    IMAGING,
    REST,
    STEP_STATUS,
    add,
    call,
    generations,
    get_list,
    post,
    query,
    update,
)


@generations()
@pytest.mark.parametrize("account", [None, ("imaging", "wrong"), ("ghost", "x")])
def test_nothing_is_given_without_an_account(
    standin: Standin, account: tuple[str, str] | None
) -> None:
    replies = [get_list(standin, account=account)]
    if standin.dialect.judge is not None:
        replies.append(post(standin, {}, account=account))
    for reply in replies:
        assert (reply.status, "error" in reply.json) == (401, True)
    session = call(standin, "GET", REST + "session", account=account)
    assert session.json == {"authenticated": False}


@pytest.mark.parametrize(
    ("standin", "account", "get", "update_status", "step_status"),
    [
        ("v0", ("nobody", "Nobody123"), 200, 200, 404),
        ("v1", ("nobody", "Nobody123"), 200, 200, 404),
        ("1.1.6", ("nobody", "Nobody123"), 200, 200, 200),
        ("v2", ("nobody", "Nobody123"), 403, 403, 403),
        ("v2", ("reader", "Reader123"), 200, 403, 200),
        ("v2", ("updater", "Updater123"), 200, 200, 200),
        ("v2", IMAGING, 200, 200, 200),
        ("v3", ("nobody", "Nobody123"), 403, 403, 403),
        ("v3", ("reader", "Reader123"), 200, 403, 200),
        ("v3", IMAGING, 200, 200, 200),
        ("v4", ("updater", "Updater123"), 200, 403, 200),  # its services ask for more
        ("v4", IMAGING, 200, 200, 200),
    ],
    indirect=["standin"],
)
def test_privileges_count_from_v2_on(
    standin: Standin, account: tuple[str, str], get: int, update_status: int, step_status: int
) -> None:
    body = update(add(standin), 1)
    progress = STEP_STATUS + "?stepId=1&status=in%20progress"
    assert get_list(standin, account=account).status == get
    assert call(standin, "POST", progress, account=account).status == step_status
    assert post(standin, body, query(1), account=account).status == update_status


def test_passwords_are_utf8_and_one_with_a_colon_never_signs_in() -> None:
    edit = frozenset({"Task: Edit Worklist"})
    accounts = {"thị": Account("mật khẩu§", edit), "colon": Account("a:b", edit)}
    with Standin(accounts=accounts) as standin:
        assert get_list(standin, account=("thị", "mật khẩu§")).status == 200
        assert get_list(standin, account=("colon", "a:b")).status == 401


def test_where_nobody_looks_at_the_annotation_a_wrong_password_goes_unnoticed(
    standin: Standin,
) -> None:
    standin.set_behaviour(enforces_privileges=False)
    patient = add(standin).patient
    wrong = ("imaging", "wrong")
    assert len(get_list(standin, account=wrong).json) == 1
    assert call(standin, "GET", REST + f"patient/{patient.uuid}", account=wrong).status == 401
    assert call(standin, "GET", REST + "session", account=wrong).json == {"authenticated": False}
