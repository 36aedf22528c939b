"""Who was erased, asked by id and address, and remembered by their hashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence

from sqlalchemy import Connection, Insert, delete, func, select, update

from mailer.storage.database import Database
from mailer.storage.dialects import NewRow, Statement, Upsert, one_of
from mailer.storage.erased.key import Of, digest, known_key, made_key
from mailer.storage.models import Erased, ErasureKey

AT_ONCE = 500  # people asked about in one statement


def _once(new: NewRow) -> Insert:
    return new.on_conflict_do_nothing()


_REMEMBER = Upsert(Erased, _once)
_ANYBODY = select(Erased.digest).limit(1)
# every checkpoint runs the first, and the second only where somebody was erased
_KEY_IF_ANYBODY = Statement(lambda _kind: select(ErasureKey.key).where(_ANYBODY.exists()))
_AMONG = Statement(lambda kind: select(Erased.digest).where(one_of(kind, Erased.digest, "digests")))
NOBODY: frozenset[str] = frozenset()
FORGOTTEN = "forgotten"  # the kind of a row that has said who was erased, and says so no more


def anybody_known_erased(connection: Connection) -> bool:
    """Whether anybody was erased at all, asked in the quick way of a checkpoint."""
    return _KEY_IF_ANYBODY.row(connection, {}) is not None


def erased_users(connection: Connection, user_ids: Sequence[str]) -> frozenset[str]:
    """Which of these users were erased."""
    found = _KEY_IF_ANYBODY.row(connection, {})
    if found is None:
        return NOBODY
    key = bytes.fromhex(found[0])
    ids = {digest(key, Of.USER, one): one for one in user_ids}
    return frozenset(ids[one] for one in _known(connection, ids))


def erased_addresses(connection: Connection, addresses: Iterable[str]) -> frozenset[str]:
    """Which of these addresses, as `addresses.comparable` writes them, are those of somebody who was erased."""
    key = known_key(connection)
    if key is None:
        return NOBODY
    by_digest = {digest(key, Of.ADDRESS, one): one for one in addresses}
    return frozenset(by_digest[one] for one in _known(connection, by_digest))


def was_erased(db: Database, user_id: str) -> bool:
    """Whether this user was."""
    with db.read() as connection:
        return bool(erased_users(connection, [user_id]))


def anybody_erased(connection: Connection) -> bool:
    """Whether anybody was erased at all."""
    return connection.scalar(_ANYBODY) is not None


_IN_LISTS = {
    "sqlite": "SELECT 1 FROM json_each({table}.hashes) h JOIN erased e ON e.digest = h.value",
    "postgresql": "SELECT 1 FROM jsonb_array_elements_text({table}.hashes) h (value) JOIN erased e"
    " ON e.digest = h.value",
}


def leave_out_erased(connection: Connection, table: str) -> int:
    """Delete the rows of the temporary `table` that are about somebody who was erased; return how many.

    Its column `hashes` has a JSON array of what `digest` gives for the id and the addresses of the row. To be called in
    the transaction that merges the table, under the lock of `wishes`, so that nobody is erased meanwhile.
    """
    if not anybody_erased(connection):
        return 0
    erased = _IN_LISTS[connection.dialect.name].format(table=table)
    return connection.exec_driver_sql(f"DELETE FROM {table} WHERE EXISTS ({erased})").rowcount  # noqa: S608 - no value


def remember(connection: Connection, key: bytes, now: int, user_id: str, addresses: Collection[str]) -> None:
    """Keep the hashes of somebody who is erased at `now` (ms since 1970)."""
    mine = [(Of.USER, user_id), *((Of.ADDRESS, one) for one in sorted(addresses))]
    rows = [{"digest": digest(key, of, text), "kind": of.value, "erased_at": now} for of, text in mine]
    _REMEMBER.run(connection, rows)


def remember_hashes(connection: Connection, now: int, user_id: str, hashes: Collection[str]) -> bool:
    """The same where only the hashes of the addresses are known, under the key of this database; whether it was new."""
    key = made_key(connection)
    rows = [(digest(key, Of.USER, user_id), Of.USER), *((one, Of.ADDRESS) for one in sorted(hashes))]
    new = bool({one for one, _ in rows} - set(_known(connection, [one for one, _ in rows])))
    _REMEMBER.run(connection, [{"digest": one, "kind": of.value, "erased_at": now} for one, of in rows])
    return new


def forget(connection: Connection, digests: Collection[str], nothing: Callable[[], str]) -> frozenset[str]:
    """Forget which of these digests are of somebody who was erased, and return those that were.

    A row that stood for a person stays and gets `nothing` in place of the digest: somebody was erased once, and may
    have left outcomes that are still to be ended, for which checkpoints look only then.
    """
    found = frozenset(_known(connection, digests))
    for one in found:
        mine = Erased.digest == one
        says_nothing = {"digest": nothing(), "kind": FORGOTTEN}
        connection.execute(update(Erased).where(mine, Erased.kind == Of.USER.value).values(**says_nothing))
        connection.execute(delete(Erased).where(mine))
    return found


def count_erased(db: Database) -> int:
    """How many people were erased."""
    with db.read() as connection:
        people = select(func.count()).select_from(Erased).where(Erased.kind == Of.USER.value)
        return connection.execute(people).scalar_one()


def last_erased(connection: Connection) -> int:
    """When somebody was erased last, in ms since 1970; 0: nobody was."""
    theirs = Erased.kind == Of.USER.value
    return connection.scalar(select(func.max(Erased.erased_at)).where(theirs)) or 0


def _known(connection: Connection, digests: Iterable[str]) -> Iterable[str]:
    wanted = list(digests)
    for begin in range(0, len(wanted), AT_ONCE):
        chosen = json.dumps(wanted[begin : begin + AT_ONCE])
        for (found,) in _AMONG.rows(connection, {"digests": chosen}):
            yield found
